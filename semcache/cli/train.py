"""The commands `semcache train …`: train a part of the decision on one's own labels."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

import semcache
from semcache.cli.options import progress_bar
from semcache.cli.skipped import SkippedRecords
from semcache.embedding.adapter import SUFFIX, LayerChange, encode_adapter
from semcache.embedding.models import ModelFiles, find_model
from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import files_of
from semcache.settings.section import DEFAULT_MODEL
from semcache.training.batches import TextPair
from semcache.training.files import check_output, sha256_of_file
from semcache.training.groups import Group, check_labels, read_groups
from semcache.training.labelled import check_pairs, divide_pairs, read_text_pairs
from semcache.training.measuring import divide
from semcache.training.recipe import Recipe
from semcache.training.tested import find_tested_texts
from semcache.whole_files import write_whole

if TYPE_CHECKING:
    from semcache.training.card import DataFile
    from semcache.training.checkpoint import Checkpoint
    from semcache.training.run import Labels, Measured

app = typer.Typer(
    name="train",
    help="Train a part of the decision on labels: groups of prompts, pairs, judged hits.",
    no_args_is_help=True,
)
_RECIPE = Recipe()
"""The shipped numbers."""


@app.callback()
def _train() -> None:
    """Keep `adapter` a command of its own, also while it is the only one."""


@app.command()
def adapter(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The adapter's file; a card is written beside it.")],
    groups: Annotated[
        list[Path] | None,
        typer.Option("--groups", help="JSONL of groups: id, domain, lang, texts with one answer, traps."),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="Labelled pairs in any form that `semcache eval` reads."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="The embedding model, as embedding.model.")] = (
        DEFAULT_MODEL
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed; the others follow it.")] = 1,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=10, help="Runs whose average is the adapter.")
    ] = _RECIPE.seeds,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of a run.")] = _RECIPE.steps,
    held_back: Annotated[
        float, typer.Option("--held-back", min=0.0, max=0.5, help="Share of the labels to measure on.")
    ] = 0.1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads to train with.")] = 1,
    licence: Annotated[str, typer.Option("--licence", help="The data's licence, for the card.")] = "",
    leave_out_tested: Annotated[
        bool,
        typer.Option("--leave-out-tested", help="Train without texts that semcache's own quality is measured on."),
    ] = False,
) -> None:
    """Train an adapter of the embedding model, so that its cosine tells your repeats from your near misses.

    The adapter is a small file that is added to the model's weights. An interrupted training goes on where it was when
    the same command runs again.
    """
    from semcache.training.run import changes_of, measure_held_back
    from semcache.training.run import train as run_training

    started_s = time.monotonic()
    check_output(out, SUFFIX)
    labels_read = _read(groups or [], pairs or [], leave_out_tested=leave_out_tested)
    base = find_model(model)
    warm_up = min(_RECIPE.warm_up, max(steps // _LEAST_STEPS_A_WARM_UP, 1))
    recipe = replace(_RECIPE, steps=steps, seeds=seeds, warm_up=warm_up)
    labels = _divide(base, labels_read, recipe, held_back, seed)
    checkpoint = _checkpoint(out, base, labels, recipe, seed, threads)
    with progress_bar("Training", seeds * steps) as (progress, task):
        factors = run_training(
            base,
            labels,
            recipe,
            seed=seed,
            checkpoint=checkpoint,
            on_step=lambda step, loss: progress.update(task, completed=step, description=f"loss {loss:.2f}"),
        )
    changes = changes_of(factors)
    measured = measure_held_back(base, labels, changes)
    about = _About(base, labels, recipe, seed, licence, labels_read.files, measured, time.monotonic() - started_s)
    _write(out, changes, about)
    checkpoint.remove()
    _print(out, measured)


_LEAST_STEPS_A_WARM_UP = 5
"""A warm-up takes a fifth of the steps at most."""


@dataclass(frozen=True, slots=True)
class _ReadLabels:
    """The labels of all files."""

    groups: tuple[Group, ...]
    pairs: tuple[TextPair, ...]
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class _About:
    """What the card says beside the adapter itself."""

    base: ModelFiles
    labels: Labels
    recipe: Recipe
    seed: int
    licence: str
    files: tuple[DataFile, ...]
    measured: tuple[Measured, ...]
    seconds: float


def _read(group_files: Sequence[Path], pair_files: Sequence[Path], *, leave_out_tested: bool) -> _ReadLabels:
    """Return the labels of all files, without contradictions and without tested texts.

    Raises:
        InvalidRequestError: there is no file, a file is bad, labels contradict each other, or a text is one that
            semcache's own quality is measured on.
    """
    from semcache.training.card import DataFile

    if not group_files and not pair_files:
        raise InvalidRequestError(
            "There is nothing to train on.", hint="Name a file of groups by --groups, or one of pairs by --pairs."
        )
    groups: list[Group] = []
    pairs: list[TextPair] = []
    files: list[DataFile] = []
    skipped = SkippedRecords()
    for path in group_files:
        read = read_groups(path)
        kept = [group for group in read if not _is_tested(path, group.all_texts, leave_out=leave_out_tested)]
        groups += kept
        files.append(DataFile(path.name, sha256_of_file(path), len(kept), 0))
    for path in (file for named in pair_files for file in files_of(named)):
        read_pairs = read_text_pairs(path, skipped.add)
        fit = [
            pair for pair in read_pairs if not _is_tested(path, (pair.first, pair.second), leave_out=leave_out_tested)
        ]
        pairs += fit
        files.append(DataFile(path.name, sha256_of_file(path), 0, len(fit)))
    skipped.finish()
    check_labels(tuple(groups))
    check_pairs(pairs, groups)
    if not groups and not any(pair.same for pair in pairs):
        raise InvalidRequestError(
            "The labels have no two texts with one answer.", hint="Add groups, or pairs whose label is 1."
        )
    return _ReadLabels(tuple(groups), tuple(pairs), tuple(files))


def _is_tested(path: Path, texts: Sequence[str], *, leave_out: bool) -> bool:
    """Return whether the texts have one that is to be left out, since semcache's quality is measured on it.

    Raises:
        InvalidRequestError: they have one, and it isn't to be left out.
    """
    tested = next(find_tested_texts(texts), None)
    if tested is not None and not leave_out:
        raise InvalidRequestError(
            f"{path} has a text that semcache's own quality is measured on: {tested[:60]!r}. What is measured on texts "
            "that were trained on proves nothing.",
            hint="Remove such records, or train without them by --leave-out-tested.",
            reason="TESTED_TEXT",
        )
    return tested is not None


def _divide(base: ModelFiles, labels_read: _ReadLabels, recipe: Recipe, held_back: float, seed: int) -> Labels:
    """Return what is trained on and what is held back, and say how much of the labels is neither.

    Raises:
        InvalidRequestError: no two texts with one answer are left to train on.
    """
    from semcache.training.run import Labels, leave_out_long_texts

    division = divide(labels_read.groups, held_back, seed)
    pairs = divide_pairs(labels_read.pairs, division, held_back, seed)
    fitting = leave_out_long_texts(base, Labels(division, pairs.trained, pairs.held), recipe.max_tokens)
    left_out = f"{fitting.groups_left_out:,} groups and {fitting.pairs_left_out:,} pairs"
    reason = f"they have a text of more than {recipe.max_tokens} tokens"
    labels = fitting.labels
    if not labels.division.trained and not any(pair.same for pair in labels.pairs):
        raise InvalidRequestError(
            f"No two texts with one answer are left to train on: {left_out} are left out, since {reason}, and others "
            "are held back.",
            hint="Add labels of shorter texts, or hold less back by --held-back.",
        )
    if fitting.groups_left_out or fitting.pairs_left_out:
        typer.echo(f"{left_out} are left out: {reason}.", err=True)
    if pairs.left_out:
        reason = "they share texts both with groups to train on and with groups that are held back"
        typer.echo(f"{len(pairs.left_out):,} pairs are left out: {reason}.", err=True)
    return labels


def _checkpoint(out: Path, base: ModelFiles, labels: Labels, recipe: Recipe, seed: int, threads: int) -> Checkpoint:
    from semcache.training.checkpoint import SUFFIX as PARTIAL
    from semcache.training.checkpoint import Checkpoint
    from semcache.training.run import key_of, use_threads

    use_threads(threads)
    return Checkpoint(out.with_name(out.name + PARTIAL), key_of(base, labels, recipe, seed))


def _write(out: Path, changes: Mapping[str, LayerChange], about: _About) -> None:
    """Write the card, then the adapter, so that there is never an adapter without a card.

    A kill in between leaves a card without an adapter, which the next run of the command replaces.
    """
    from semcache.training.card import Card, as_markdown

    base, division = about.base, about.labels.division
    adapter, content = encode_adapter(changes, name=out.stem, base_sha256=base.weights_sha256)
    card = Card(
        name=adapter.name,
        sha256=adapter.sha256,
        model=base.name,
        base_sha256=base.weights_sha256,
        version=semcache.__version__,
        command=shlex.join(["semcache", *sys.argv[1:]]),
        seed=about.seed,
        recipe=about.recipe,
        files=about.files,
        licence=about.licence,
        trained=(len(division.trained), len(about.labels.pairs)),
        held_domains=sorted({group.domain for group in division.domains}),
        measured=about.measured,
        seconds=about.seconds,
    )
    write_whole(out.with_suffix(".md"), as_markdown(card).encode())
    write_whole(out, content)


def _print(out: Path, measured: Sequence[Measured]) -> None:
    typer.echo(f"The adapter is {out}, its card {out.with_suffix('.md')}.")
    if not measured:
        typer.echo("Nothing was held back, so nothing is known of what it brings.")
        return
    table = Table("held back", "hits", "traps", "AUC before", "AUC after", title="Cosine alone, without guards")
    for part in measured:
        figures = ["–" if one.auc is None else f"{one.auc:.3f}" for one in (part.before, part.after)]
        table.add_row(part.part, str(part.before.hits), str(part.before.traps), *figures)
    Console().print(table)
