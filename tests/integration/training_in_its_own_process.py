"""Training a tiny network: corrections, loss, checkpoints, and the whole command's result (`test_training` runs it)."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from typer.testing import CliRunner

from semcache import whole_files
from semcache.cli.train import app
from semcache.embedding.adapter import read_adapter
from semcache.embedding.models import ModelFiles, find_model
from semcache.errors import InvalidRequestError, StartError
from semcache.training.batches import TextPair
from semcache.training.checkpoint import Checkpoint
from semcache.training.interruption import hear_interruption
from semcache.training.loop import TrainedNetwork, learning_rate
from semcache.training.lora import average
from semcache.training.loss import preservation_loss, ranking_loss
from semcache.training.measuring import Division, divide
from semcache.training.recipe import Recipe
from semcache.training.run import Labels, changes_of, key_of, leave_out_long_texts, measure_held_back, train
from tests.support.tiny_models import LAYERS, write_tiny_model
from tests.support.training_groups import groups, rows, write_groups

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
            signal.raise_signal(signal.SIGINT)

    whole = train(files, LABELS, RECIPE, seed=1, checkpoint=Checkpoint(tmp_path / "whole", "key"), on_step=unreported)
    stopped = Checkpoint(tmp_path / "stopped", "key")
    with pytest.raises(KeyboardInterrupt):
        train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=interrupt)
    steps: list[int] = []
    resumed = train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(stopped_after + 1, 9))
    for layer, (down, up) in whole.items():
        assert np.allclose(up @ down, resumed[layer][1] @ resumed[layer][0], atol=1e-6)


def test_an_interruption_within_a_step_saves_no_torn_state(
    files: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(files, LABELS, RECIPE, seed=1, checkpoint=Checkpoint(tmp_path / "whole", "key"), on_step=unreported)
    former = signal.getsignal(signal.SIGINT)
    make_step = torch.optim.AdamW.step
    steps: list[int] = []

    def interrupt_after_the_update(optimiser: torch.optim.AdamW) -> None:
        make_step(optimiser)
        if len(steps) == 2:
            signal.raise_signal(signal.SIGINT)

    stopped = Checkpoint(tmp_path / "stopped", "key")
    monkeypatch.setattr(torch.optim.AdamW, "step", interrupt_after_the_update)
    with pytest.raises(KeyboardInterrupt):
        train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=lambda step, loss: steps.append(step))
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is former
    resumed = train(files, LABELS, RECIPE, seed=1, checkpoint=stopped, on_step=lambda step, loss: steps.append(step))
    assert steps == list(range(1, 9))
    for layer, (down, up) in whole.items():
        assert np.allclose(up @ down, resumed[layer][1] @ resumed[layer][0], atol=1e-6)


def test_a_second_interruption_does_not_wait_for_the_step() -> None:
    with hear_interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(files: ModelFiles, tmp_path: Path) -> None:
    path = tmp_path / "state.partial"

    def interrupt(step: int, loss: float) -> None:
        signal.raise_signal(signal.SIGINT)

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


def test_labels_with_a_long_text_are_left_out_and_counted(files: ModelFiles) -> None:
    long = "x" * 80
    first, *others = groups()
    labels = Labels(
        Division((replace(first, traps=(long,)), *others[:5]), (), (replace(others[6], traps=(long,)),)),
        (TextPair("a", long, same=True), TextPair("a", "b", same=True)),
        (TextPair("c", long, same=True),),
    )
    fitting = leave_out_long_texts(files, labels, 48)
    assert (fitting.groups_left_out, fitting.pairs_left_out) == (1, 1)
    assert fitting.labels.division.trained == tuple(others[:5])
    assert fitting.labels.pairs == (TextPair("a", "b", same=True),)
    assert fitting.labels.division.groups == labels.division.groups
    assert fitting.labels.held_pairs == labels.held_pairs


def test_a_loss_that_is_no_number_ends_the_training(files: ModelFiles, tmp_path: Path) -> None:
    recipe = replace(RECIPE, neighbourhood_weight=float("nan"))
    state = Checkpoint(tmp_path / "state", "key")
    with pytest.raises(StartError, match="loss of step 1 with the seed 1 is nan") as caught:
        train(files, LABELS, recipe, seed=1, checkpoint=state, on_step=unreported)
    assert "another --seed" in caught.value.hint
    assert state.load() is None


def command_of(folder: Path, out: Path, *arguments: str) -> list[str]:
    model = folder / "tiny"
    if not model.exists():
        write_tiny_model(model)
    numbers = ["--steps", "1", "--seeds", "1"]
    return ["adapter", "--model", str(model), *numbers, "--out", str(out), *arguments]


def test_a_training_that_is_killed_before_its_adapter_is_written_can_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "own.safetensors", whole_files.write_whole

    def kill_before_the_adapter(path: Path, content: bytes) -> None:
        if path == out:
            raise KeyboardInterrupt
        written(path, content)

    command = command_of(tmp_path, out, "--groups", str(write_groups(tmp_path / "groups.jsonl")))
    monkeypatch.setattr("semcache.cli.train.write_whole", kill_before_the_adapter)
    assert CliRunner().invoke(app, command).exit_code == 130
    assert (out.exists(), out.with_suffix(".md").exists()) == (False, True)
    monkeypatch.undo()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert read_adapter(out).sha256 in out.with_suffix(".md").read_text("utf-8")


def test_the_command_says_what_it_leaves_out_and_the_card_counts_the_rest(tmp_path: Path) -> None:
    out, group, pairs = tmp_path / "own.safetensors", rows()[0], tmp_path / "pairs.jsonl"
    given = write_groups(tmp_path / "groups.jsonl", [*rows()[1:], {**group, "texts": [*group["texts"], "x" * 80]}])
    pairs.write_text(json.dumps({"a": "open the tap", "b": "x" * 90, "same": 1}), "utf-8")
    chosen = ("--groups", str(given), "--pairs", str(pairs), "--held-back", "0")
    ran = CliRunner().invoke(app, command_of(tmp_path, out, *chosen))
    assert ran.exit_code == 0, ran.output
    assert "1 groups and 1 pairs are left out: they have a text of more than 48 tokens." in ran.stderr
    assert "11 groups and 0 pairs" in out.with_suffix(".md").read_text("utf-8")


def test_labels_of_long_texts_alone_are_refused(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"a": "open the tap", "b": "x" * 90, "same": 1}), "utf-8")
    out = tmp_path / "own.safetensors"
    ran = CliRunner().invoke(app, command_of(tmp_path, out, "--pairs", str(pairs), "--held-back", "0"))
    assert isinstance(ran.exception, InvalidRequestError)
    assert "0 groups and 1 pairs are left out" in ran.exception.message
    assert not list(tmp_path.glob("own*"))
