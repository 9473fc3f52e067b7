"""The network as one torch module: transformer, pooling and normalisation."""

from __future__ import annotations

import torch
from torch import nn

from semcache.embedding.models import ModelFiles
from semcache.errors import StartError


class SentenceNetwork(nn.Module):
    """Turns input ids and attention mask, both (batch, length), into float32 unit vectors (batch, dimension).

    Args:
        files: the model.
        dtype: what the transformer computes in.

    Raises:
        StartError: transformers can't load the model.
    """

    def __init__(self, files: ModelFiles, dtype: torch.dtype) -> None:
        super().__init__()
        from transformers import AutoModel
        from transformers.utils import logging

        # A server's log has no use for its notes on unused weights and its progress bar.
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        try:
            transformer = AutoModel.from_pretrained(
                files.path, attn_implementation="sdpa", dtype=dtype, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StartError(
                f"transformers can't load the embedding model at {files.path}: {str(error).splitlines()[0]}",
                hint="Check that the folder holds the whole model.",
            ) from error
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
