"""Train the seeds one after another, make their average, and measure what was held back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from semcache.embedding.adapter import LayerChange, rounded
from semcache.embedding.models import ModelFiles
from semcache.embedding.tokenizer import TextTokenizer
from semcache.training.batches import Sampler, TextPair
from semcache.training.checkpoint import Checkpoint, TrainingState
from semcache.training.guard_scores import GuardScores
from semcache.training.interruption import hear_interruption
from semcache.training.loop import SeedTraining, TrainedNetwork
from semcache.training.lora import Factors, average
from semcache.training.measuring import Division, RankingFigures, measure, pairs_of
from semcache.training.recipe import Recipe

_SAVE_EVERY = 20
"""Steps between two checkpoints: an interruption loses a minute at most."""
_MAX_MEASURED_TOKENS = 256
OnStep = Callable[[int, float], None]
"""Called after each step with the number of all steps so far, and with the loss."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is trained on and what is held back.

    Attributes:
        division: the groups.
        pairs: further pairs to train on.
        held_pairs: further pairs that are held back.
    """

    division: Division
    pairs: tuple[TextPair, ...] = ()
    held_pairs: tuple[TextPair, ...] = ()


@dataclass(frozen=True, slots=True)
class FittingLabels:
    """Labels without those that are too long to train on.

    Attributes:
        labels: the rest.
        groups_left_out: groups that were left out.
        pairs_left_out: pairs that were left out.
    """

    labels: Labels
    groups_left_out: int
    pairs_left_out: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A part of the labels that was held back, before and after."""

    part: str
    before: RankingFigures
    after: RankingFigures


def use_threads(count: int) -> None:
    """Train with so many threads, in the whole process."""
    torch.set_num_threads(count)


def leave_out_long_texts(files: ModelFiles, labels: Labels, max_tokens: int) -> FittingLabels:
    """Leave out the groups and pairs to train on that have a text of more tokens; what is held back stays.

    A text that is cut may lose the word that its label rests on.

    Args:
        files: the embedding model, whose own limit counts too.
        labels: all labels.
        max_tokens: tokens that a text may have.
    """
    tokenizer, limit = TextTokenizer(files), min(max_tokens, files.max_tokens)

    def fits(texts: Iterable[str]) -> bool:
        return all(len(tokenizer.ids(text)) <= limit for text in texts)

    division = labels.division
    groups = tuple(group for group in division.trained if fits(group.all_texts))
    pairs = tuple(pair for pair in labels.pairs if fits((pair.first, pair.second)))
    return FittingLabels(
        replace(labels, division=replace(division, trained=groups), pairs=pairs),
        len(division.trained) - len(groups),
        len(labels.pairs) - len(pairs),
    )


def key_of(files: ModelFiles, labels: Labels, recipe: Recipe, seed: int) -> str:
    """Return a hash that names a training: its model, its data and its settings."""
    parts = {
        "weights": files.weights_sha256,
        "recipe": asdict(recipe),
        "seed": seed,
        "groups": [asdict(group) for group in labels.division.trained],
        "pairs": [asdict(pair) for pair in labels.pairs],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def train(
    files: ModelFiles, labels: Labels, recipe: Recipe, *, seed: int, checkpoint: Checkpoint, on_step: OnStep
) -> Factors:
    """Return the average correction of all seeds, cut to the recipe's rank.

    It goes on from the checkpoint, if there is one. A checkpoint is written every 20 steps. Ctrl-C lets the
    step end, whose checkpoint is written; a second Ctrl-C doesn't wait.

    Args:
        files: the embedding model.
        labels: only what is to be trained on is looked at, each text up to the recipe's tokens.
        recipe: the numbers.
        seed: the first seed; the others follow it.
        checkpoint: of this training.
        on_step: told after each step.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        StartError: the model can't be loaded, or the checkpoint is of another training.
        OSError: the checkpoint can't be written.
    """
    state = checkpoint.load()
    finished = _finished(state)
    sampler = _sampler(files, labels, recipe)
    with hear_interruption() as interruption:
        for run in range(len(finished), recipe.seeds):
            network = TrainedNetwork(files, recipe.trained_rank, seed + run, recipe.max_tokens)
            training = SeedTraining(network, sampler, recipe, seed + run)
            if state is not None and state.run == run:
                _restore(training, state)
            while training.step < recipe.steps:
                loss = training.advance()
                on_step(run * recipe.steps + training.step, loss)
                if training.step % _SAVE_EVERY == 0 or interruption.requested:
                    checkpoint.save(_state(training, run, finished))
                if interruption.requested:
                    raise KeyboardInterrupt
            finished.append(network.corrections.factors())
    return average(finished, recipe.rank)


def _sampler(files: ModelFiles, labels: Labels, recipe: Recipe) -> Sampler:
    """Return the sampler; it needs each group's first vector by the model as it is."""
    network = TrainedNetwork(files, 1, 0, recipe.max_tokens)
    network.corrections.disable()
    first = [group.texts[0] for group in labels.division.trained]
    vectors = network.vectors(first) if first else np.zeros((0, files.dimension), dtype=np.float32)
    return Sampler(labels.division.trained, labels.pairs, vectors, recipe=recipe, guards=GuardScores().shift)


def changes_of(factors: Factors) -> Mapping[str, LayerChange]:
    """Return the corrections in int8, as an adapter's file holds them."""
    return {layer: rounded(down, up) for layer, (down, up) in factors.items()}


def measure_held_back(files: ModelFiles, labels: Labels, changes: Mapping[str, LayerChange]) -> tuple[Measured, ...]:
    """Measure each part that was held back without and with an adapter.

    Args:
        files: the embedding model.
        labels: only what was held back is looked at.
        changes: the adapter's.
    """
    parts: dict[str, Sequence[TextPair]] = {
        "whole domains": pairs_of(labels.division.domains),
        "single groups": pairs_of(labels.division.groups),
        "pairs": labels.held_pairs,
    }
    rank = next(iter(changes.values())).down.shape[0]
    network = TrainedNetwork(files, rank, 0, _MAX_MEASURED_TOKENS)
    network.corrections.load({layer: change.factors() for layer, change in changes.items()})
    measured = []
    for part, pairs in parts.items():
        if not pairs:
            continue
        network.corrections.disable()
        before = measure(pairs, network.vectors)
        network.corrections.enable()
        measured.append(Measured(part, before, measure(pairs, network.vectors)))
    return tuple(measured)


def _state(training: SeedTraining, run: int, finished: Sequence[Factors]) -> TrainingState:
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in training.parameters.items():
        tensors[f"now.{name}"] = parameter.detach().clone()
        for moment in ("exp_avg", "exp_avg_sq"):
            known = training.optimiser.state[parameter].get(moment)
            tensors[f"{moment}.{name}"] = torch.zeros_like(parameter) if known is None else known.clone()
    for number, factors in enumerate(finished):
        for layer, (down, up) in factors.items():
            tensors[f"run{number}.{layer}.down"] = torch.from_numpy(down)
            tensors[f"run{number}.{layer}.up"] = torch.from_numpy(up)
    return TrainingState(run, training.step, tensors)


def _restore(training: SeedTraining, state: TrainingState) -> None:
    training.step = state.step
    with torch.no_grad():
        for name, parameter in training.parameters.items():
            parameter.copy_(state.tensors[f"now.{name}"])
            training.optimiser.state[parameter] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": state.tensors[f"exp_avg.{name}"].clone(),
                "exp_avg_sq": state.tensors[f"exp_avg_sq.{name}"].clone(),
            }


def _finished(state: TrainingState | None) -> list[Factors]:
    """Return the corrections of the seeds that were finished before the state was written."""
    finished: list[Factors] = []
    for number in range(state.run if state else 0):
        assert state is not None
        prefix = f"run{number}."
        layers = {
            name.removeprefix(prefix).removesuffix(".down")
            for name in state.tensors
            if name.startswith(prefix) and name.endswith(".down")
        }
        finished.append(
            {
                layer: (
                    state.tensors[f"{prefix}{layer}.down"].numpy(),
                    state.tensors[f"{prefix}{layer}.up"].numpy(),
                )
                for layer in sorted(layers)
            }
        )
    return finished
