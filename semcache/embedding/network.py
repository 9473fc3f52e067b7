"""The network as one torch module: transformer, pooling and normalisation."""

from __future__ import annotations

import torch
from torch import nn

from semcache.embedding.adapter import Adapter
from semcache.embedding.models import ModelFiles
from semcache.errors import StartError


class SentenceNetwork(nn.Module):
    """Turns input ids and attention mask, both (batch, length), into float32 unit vectors (batch, dimension).

    Args:
        files: the model, with its adapter if it has one.
        dtype: what the transformer computes in.

    Raises:
        StartError: transformers can't load the model, or its adapter doesn't fit it.
    """

    def __init__(self, files: ModelFiles, dtype: torch.dtype) -> None:
        super().__init__()
        from transformers import AutoModel
        from transformers.utils import logging

        # A server's log has no use for its notes on unused weights and its progress bar.
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        # An adapter is added in float32: in half precision, changes below a weight's last bit would be lost.
        loaded_dtype = dtype if files.adapter is None else torch.float32
        try:
            transformer = AutoModel.from_pretrained(
                files.path, attn_implementation="sdpa", dtype=loaded_dtype, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StartError(
                f"transformers can't load the embedding model at {files.path}: {str(error).splitlines()[0]}",
                hint="Check that the folder holds the whole model.",
            ) from error
        if files.adapter is not None:
            _merge(files.adapter, transformer)
            for parameter in transformer.parameters():
                # Not `to`, which would round buffers too: transformers keeps some in float32 whatever the dtype.
                parameter.data = parameter.data.to(dtype)
        self.transformer: nn.Module = transformer.eval()
        self.mean = files.pooling == "mean"

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (batch, dimension); pooling and normalisation are always in float32."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0].float()
        if self.mean:
            weight = attention_mask.unsqueeze(-1).float()
            pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        else:
            pooled = states[:, 0]
        return nn.functional.normalize(pooled, dim=1)


def _merge(adapter: Adapter, transformer: nn.Module) -> None:
    """Add an adapter's changes to the weights of a network in float32.

    Raises:
        StartError: a layer that it names isn't there, isn't linear, or has another shape.
    """
    for layer, change in adapter.layers.items():
        try:
            module = transformer.get_submodule(layer)
        except AttributeError:
            module = None
        if not isinstance(module, nn.Linear) or tuple(module.weight.shape) != change.shape:
            raise StartError(
                f"the adapter {adapter.name!r} changes {layer!r} by a matrix of {change.shape}, and the embedding "
                "model has no such linear layer.",
                hint="Set embedding.adapter to none, or train an adapter for this model.",
            )
        with torch.no_grad():
            module.weight.add_(torch.from_numpy(change.matrix()))
