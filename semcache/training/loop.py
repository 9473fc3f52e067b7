"""Train one seed: draw a batch, embed it, follow the loss's gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from semcache.embedding.models import ModelFiles
from semcache.embedding.network import SentenceNetwork
from semcache.embedding.tokenizer import TextTokenizer
from semcache.errors import StartError
from semcache.training.batches import Sampler, TrainingBatch
from semcache.training.lora import LowRankCorrections
from semcache.training.loss import preservation_loss, ranking_loss
from semcache.training.recipe import Recipe

_CHUNK = 48
"""Texts of one forward pass: texts are sorted by length first, so that little is padded."""
_LARGEST_GRADIENT = 1.0
"""Length to which a longer gradient is cut: one odd batch can't undo many steps."""
_WEIGHT_DECAY = 0.01


class TrainedNetwork:
    """The embedding model with corrections that are trained.

    Args:
        files: the model.
        rank: of the corrections.
        seed: of their first values.
        max_tokens: tokens that are read of a text.
    """

    def __init__(self, files: ModelFiles, rank: int, seed: int, max_tokens: int) -> None:
        self._tokenizer = TextTokenizer(files)
        self._network = SentenceNetwork(files, torch.float32)
        self.corrections = LowRankCorrections(self._network.transformer, rank, seed)
        self._pad_id = files.pad_id
        self._max_tokens = min(max_tokens, files.max_tokens)

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit vectors (texts, dimension) that gradients flow through."""
        ids = [self._ids(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        parts = [
            self._forward([ids[place] for place in order[start : start + _CHUNK]])
            for start in range(0, len(order), _CHUNK)
        ]
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
        return torch.cat(parts)[back]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (texts, dimension) without gradients."""
        with torch.no_grad():
            vectors: NDArray[np.float32] = self.embed(texts).numpy()
        return vectors

    def _ids(self, text: str) -> tuple[int, ...]:
        ids = self._tokenizer.ids(text)
        return ids if len(ids) <= self._max_tokens else (*ids[: self._max_tokens - 1], ids[-1])

    def _forward(self, ids: Sequence[tuple[int, ...]]) -> torch.Tensor:
        length = max(map(len, ids))
        tokens = torch.full((len(ids), length), self._pad_id)
        mask = torch.zeros((len(ids), length), dtype=torch.long)
        for row, of_text in enumerate(ids):
            tokens[row, : len(of_text)] = torch.tensor(of_text)
            mask[row, : len(of_text)] = 1
        vectors: torch.Tensor = self._network(tokens, mask)
        return vectors


class SeedTraining:
    """One seed's training, step by step.

    Args:
        network: with fresh corrections.
        sampler: of the batches.
        recipe: the numbers.
        seed: of the batches.

    Attributes:
        step: steps that were made.
    """

    def __init__(self, network: TrainedNetwork, sampler: Sampler, recipe: Recipe, seed: int) -> None:
        self._network = network
        self._sampler = sampler
        self._recipe = recipe
        self._seed = seed
        self.step = 0
        self.parameters = network.corrections.parameters()
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=recipe.rate, weight_decay=_WEIGHT_DECAY)

    def advance(self) -> float:
        """Make one step and return its loss.

        Raises:
            StartError: the loss isn't finite. The corrections stay as they were before the step.
        """
        batch = self._sampler.draw(self._seed, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self._recipe, self.step)
        loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise StartError(
                f"The loss of step {self.step + 1} with the seed {self._seed} is {value}, so the training can't go on.",
                hint="Remove its .partial file and train with another --seed, or check the embedding model's weights.",
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), _LARGEST_GRADIENT)
        self.optimiser.step()
        self.step += 1
        return value

    def _loss(self, batch: TrainingBatch) -> torch.Tensor:
        recipe = self._recipe
        vectors = self._network.embed(batch.texts)
        scores = (vectors[batch.first] * vectors[batch.second]).sum(1) + torch.tensor(batch.shift)
        same, part = torch.tensor(batch.same), torch.tensor(batch.part)
        loss = ranking_loss(scores, same, recipe.scale)
        parts = [part == number for number in sorted(set(batch.part)) if number >= 0]
        within = [ranking_loss(scores[chosen], same[chosen], recipe.scale) for chosen in parts]
        if within:
            loss = loss + recipe.neighbourhood_weight * torch.stack(within).mean()
        unrelated = [batch.texts[place] for place in batch.unrelated]
        if len(unrelated) > 1:
            before = self._before(unrelated)
            loss = loss + recipe.preservation_weight * preservation_loss(vectors[batch.unrelated], before)
        return loss

    def _before(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the vectors of texts without the corrections."""
        self._network.corrections.disable()
        try:
            return torch.from_numpy(self._network.vectors(texts))
        finally:
            self._network.corrections.enable()


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step: a linear rise, then a linear fall to 0 after the last one."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    return recipe.rate * (recipe.steps - step) / max(recipe.steps - recipe.warm_up, 1)
