"""Low-rank corrections of a network's linear layers: put in, read out, averaged, cut to a lower rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Factors = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""For each layer, by its name in the weights file: down (rank, inputs) and up (outputs, rank)."""
_DOWN_DEVIATION = 0.02
"""Standard deviation of the first values of `down`, as of BERT's own weights. `up` begins with zeros."""


class LowRankLinear(nn.Module):
    """A linear layer with fixed weights and a trained correction: base(x) + x · downᵀ · upᵀ.

    Args:
        base: the layer.
        rank: of the correction.
        generator: the source of the first values.
    """

    def __init__(self, base: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.enabled = True
        first = torch.randn(rank, base.in_features, generator=generator) * _DOWN_DEVIATION
        self.down = nn.Parameter(first)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the corrected product; `values` and the result are (…, inputs) and (…, outputs)."""
        product: torch.Tensor = self.base(values)
        return product + (values @ self.down.T) @ self.up.T if self.enabled else product


class LowRankCorrections:
    """The corrections of a network's linear layers.

    Args:
        transformer: the network; its weights are frozen, and its linear layers replaced in place. The pooler, which
            sentence embeddings don't use, is left alone.
        rank: of each correction.
        seed: of the first values.
    """

    def __init__(self, transformer: nn.Module, rank: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in transformer.parameters():
            parameter.requires_grad = False
        linear = [
            (name, module)
            for name, module in transformer.named_modules()
            if isinstance(module, nn.Linear) and not name.startswith("pooler.")
        ]
        self._layers: dict[str, LowRankLinear] = {}
        for name, module in linear:
            parent, _, child = name.rpartition(".")
            self._layers[name] = LowRankLinear(module, rank, generator)
            setattr(transformer.get_submodule(parent), child, self._layers[name])

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by name: `<layer>.down` and `<layer>.up`."""
        return {
            f"{name}.{side}": getattr(layer, side) for name, layer in self._layers.items() for side in ("down", "up")
        }

    def enable(self) -> None:
        """Compute with the corrections from now on."""
        for layer in self._layers.values():
            layer.enabled = True

    def disable(self) -> None:
        """Compute as without the corrections from now on."""
        for layer in self._layers.values():
            layer.enabled = False

    def factors(self) -> Factors:
        """Return a copy of the corrections."""
        return {
            name: (layer.down.detach().numpy().copy(), layer.up.detach().numpy().copy())
            for name, layer in self._layers.items()
        }

    def load(self, factors: Factors) -> None:
        """Replace the corrections' values by those of `factors`, which may have a lower rank: the rest is zero."""
        with torch.no_grad():
            for name, (down, up) in factors.items():
                layer = self._layers[name]
                layer.down.zero_()[: len(down)].copy_(torch.from_numpy(down))
                layer.up.zero_()[:, : len(down)].copy_(torch.from_numpy(up))


def average(runs: Sequence[Factors], rank: int) -> Factors:
    """Return the mean correction of several runs, cut to a rank by singular values, which loses least.

    The singular value's square root goes to either factor, so that both have similar magnitudes.

    Args:
        runs: of the same network.
        rank: of the result.
    """
    cut: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for name in runs[0]:
        mean = sum((run[name][1].astype(np.float64) @ run[name][0] for run in runs), np.float64(0)) / len(runs)
        left, values, right = np.linalg.svd(mean, full_matrices=False)
        root = np.sqrt(values[:rank])
        cut[name] = (
            (root[:, None] * right[:rank]).astype(np.float32),
            (left[:, :rank] * root).astype(np.float32),
        )
    return cut
