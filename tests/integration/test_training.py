"""Training a tiny network: corrections, loss, checkpoints, and the whole command's result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from semcache.embedding.models import ModelFiles, find_model
from semcache.errors import StartError
from semcache.training.checkpoint import Checkpoint
from semcache.training.loop import TrainedNetwork, learning_rate
from semcache.training.lora import average
from semcache.training.loss import preservation_loss, ranking_loss
from semcache.training.measuring import divide
from semcache.training.recipe import Recipe
from semcache.training.run import Labels, changes_of, key_of, measure_held_back, train
from tests.support.tiny_models import LAYERS, write_tiny_model
from tests.support.training_groups import groups

RECIPE = Recipe(steps=4, seeds=2, trained_rank=4, rank=2, warm_up=1, edits=1, frames=1, templates=1, max_tokens=64)
TEXTS = ("how do I mend my kettle", "repair of a broken kettle", "an unrelated text")
LABELS = Labels(divide(groups(), 0.25, seed=1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    return find_model(str(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")))


def unreported(step: int, loss: float) -> None:
    """Watch nothing."""


def test_fresh_corrections_change_nothing_and_cover_all_linear_layers(files: ModelFiles) -> None:
    network = TrainedNetwork(files, 4, 1, 64)
    corrected = network.vectors(TEXTS)
    network.corrections.disable()
    assert np.array_equal(corrected, network.vectors(TEXTS))
    assert len(network.corrections.factors()) == 6 * LAYERS
    assert np.allclose(np.linalg.norm(corrected, axis=1), 1, atol=1e-5)


def test_vectors_keep_the_order_of_texts_of_any_length(files: ModelFiles) -> None:
    network = TrainedNetwork(files, 4, 1, 64)
    many = [TEXTS[number % 3] * (1 + number % 5) for number in range(70)]
    together = network.vectors(many)
    apart = np.concatenate([network.vectors([text]) for text in many])
    assert np.allclose(together, apart, atol=1e-5)


def test_an_average_keeps_what_its_rank_can_hold(files: ModelFiles) -> None:
    chance = np.random.default_rng(1)
    run = {
        "layer": (chance.standard_normal((2, 8)).astype(np.float32), chance.standard_normal((6, 2)).astype(np.float32))
    }
    down, up = average([run, run], 2)["layer"]
    assert np.allclose(up @ down, run["layer"][1] @ run["layer"][0], atol=1e-5)
    down, up = average([run], 1)["layer"]
    assert (down.shape, up.shape) == ((1, 8), (6, 1))
    first = np.linalg.svd(run["layer"][1] @ run["layer"][0])[1]
    assert np.linalg.norm(run["layer"][1] @ run["layer"][0] - up @ down) == pytest.approx(first[1], rel=1e-4)


def test_the_loss_falls_when_a_hit_rises_above_a_trap() -> None:
    same = torch.tensor([True, False])
    good, bad = (ranking_loss(torch.tensor(scores), same, 20.0) for scores in ([0.9, 0.1], [0.1, 0.9]))
    assert float(good) < 0.01
    assert float(bad) > 15
    assert float(ranking_loss(torch.tensor([0.5]), torch.tensor([True]), 20.0)) == 0


def test_unrelated_texts_cost_what_their_cosines_have_moved() -> None:
    before = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    after = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert float(preservation_loss(before, before)) == 0
    assert float(preservation_loss(after, before)) == pytest.approx(0.36)


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = replace(RECIPE, steps=10, warm_up=2, rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(1 / 8)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_training_moves_the_network_and_can_be_repeated(files: ModelFiles, tmp_path: Path) -> None:
    steps: list[int] = []
    runs = [
        train(
            files,
            LABELS,
            RECIPE,
            seed=1,
            checkpoint=Checkpoint(tmp_path / f"{number}.partial", "key"),
            on_step=lambda step, loss: steps.append(step),
        )
        for number in range(2)
    ]
    assert steps == [*range(1, 9), *range(1, 9)]
    for layer, (down, up) in runs[0].items():
        assert down.shape[0] == up.shape[1] == RECIPE.rank
        assert np.array_equal(down, runs[1][layer][0])
        assert np.array_equal(up, runs[1][layer][1])
        assert np.abs(up @ down).max() > 0


@pytest.mark.parametrize("stopped_after", [3, 6])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    files: ModelFiles, tmp_path: Path, stopped_after: int
) -> None:
    def interrupt(step: int, loss: float) -> None:
        if step == stopped_after:
            raise KeyboardInterrupt

    whole = train(files, LABELS, RECIPE, seed=1, checkpoint=Checkpoint(tmp_path / "whole", "key"), on_step=unreported)
    stopped = Checkpoint(tmp_path / "stopped", "key")
    with pytest.raises(KeyboardInterrupt):
        train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=interrupt)
    steps: list[int] = []
    resumed = train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(stopped_after + 1, 9))
    for layer, (down, up) in whole.items():
        assert np.allclose(up @ down, resumed[layer][1] @ resumed[layer][0], atol=1e-6)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(files: ModelFiles, tmp_path: Path) -> None:
    path = tmp_path / "state.partial"

    def interrupt(step: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(files, LABELS, RECIPE, seed=1, checkpoint=Checkpoint(path, "key"), on_step=interrupt)
    with pytest.raises(StartError, match="other data or settings"):
        Checkpoint(path, "another key").load()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StartError, match="can't be read"):
        Checkpoint(path, "key").load()
    assert Checkpoint(tmp_path / "none", "key").load() is None


def test_a_key_depends_on_model_data_settings_and_seed(files: ModelFiles) -> None:
    keys = {
        key_of(files, LABELS, RECIPE, 1),
        key_of(files, LABELS, RECIPE, 2),
        key_of(files, LABELS, replace(RECIPE, rate=1e-4), 1),
        key_of(files, Labels(divide(groups()[:9], 0.25, seed=1)), RECIPE, 1),
        key_of(replace(files, weights_sha256="0" * 64), LABELS, RECIPE, 1),
    }
    assert len(keys) == 5
    assert key_of(files, LABELS, RECIPE, 1) in keys


def test_what_is_held_back_is_measured_with_the_numbers_of_the_file(files: ModelFiles, tmp_path: Path) -> None:
    factors = train(
        files,
        LABELS,
        replace(RECIPE, rate=0.1),
        seed=1,
        checkpoint=Checkpoint(tmp_path / "state", "key"),
        on_step=unreported,
    )
    measured = measure_held_back(files, LABELS, changes_of(factors))
    assert [one.part for one in measured] == ["single groups"]
    (part,) = measured
    assert (part.before.hits, part.before.traps) == (9, 18)
    assert part.before.auc is not None
    assert part.before.auc != part.after.auc
