"""`semcache tune`: finds the threshold that labels prove to keep a budget of wrong answers."""

from __future__ import annotations

import asyncio
import json as json_format
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semcache.cli.options import Config, Json, progress_bar
from semcache.cli.skipped import SkippedRecords
from semcache.cli.tune_tables import Sources, as_json, print_tuning
from semcache.embedding import open_embedder
from semcache.embedding.origin import origin_of
from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import files_of, load_named_texts, load_pairs
from semcache.evaluation.labels.pairs import LabelledPair, NamedTexts
from semcache.evaluation.tune.background import meet_background, read_background, shipped_background
from semcache.evaluation.tune.choosing import WrongBudget
from semcache.evaluation.tune.comparing import compare_pairs, texts_to_embed
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.money import worth_of
from semcache.evaluation.tune.pair_scores import joined, one_candidate_each
from semcache.evaluation.tune.served import pairs_of_hits
from semcache.evaluation.tune.specs import Spec, check_threshold, read_guards
from semcache.evaluation.tune.traffic import LaidOut, lay_out, read_stream
from semcache.evaluation.tune.tuning import Question, Tuning
from semcache.evaluation.tune.tuning import tune as tune_pairs
from semcache.observe.logs import configure_logging
from semcache.settings import LogSettings, Settings, load_settings
from semcache.store import read_judged

Traffic = Annotated[
    str | None,
    typer.Option(
        "--traffic",
        help="A file of prompts of other traffic, which the store holds too; `none` for none; without it, prompts "
        "that ship with semcache.",
    ),
]
Guards = Annotated[
    str | None,
    typer.Option("--guards", help="Guards such as numbers+polarity, all or none; without it, the settings' own."),
]


def tune(
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="JSON, JSONL or CSV files of labelled pairs, conversations, clusters, intents or turns; or a folder."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", help="The store of a server, which may be running; its hits with verdicts are the labels."
        ),
    ] = None,
    traffic: Traffic = None,
    max_wrong_hit_ratio: Annotated[
        float, typer.Option("--max-wrong-hit-ratio", help="The budget: the share of wrong answers among served hits.")
    ] = 0.01,
    confidence: Annotated[
        float,
        typer.Option("--confidence", help="The probability with which as many further hits must keep the budget."),
    ] = 0.95,
    trap_share: Annotated[
        float | None,
        typer.Option("--trap-share", help="The share of near misses among requests; without it, the labels' own."),
    ] = None,
    cost_of_wrong: Annotated[
        float, typer.Option("--cost-of-wrong", min=0.0, help="Dollars that one wrong answer costs.")
    ] = 0.0,
    model: Annotated[
        str, typer.Option("--model", "-m", help="The model whose price is used for pairs of unknown cost.")
    ] = "gpt-4o-mini",
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", min=0, help="Tokens of an answer, for pairs of unknown cost.")
    ] = 250,
    guards: Guards = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write a page with charts: FILE.html.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first pairs of each file.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Find the threshold that labelled pairs, or a server's judged hits, prove to keep a budget of wrong answers.

    \b
    Files are JSON, JSONL or CSV. The first record tells what all records are:
      a, b, same             two prompts or lists of messages, and whether one
                             answer serves both; question1, sentence1 and
                             is_duplicate, label are other names
      cluster, text          texts of one cluster share an answer
      intent, text           texts of one intent needn't share an answer
      history, raw, rewrite  turns of conversations
    A record with an empty side is reported and left out.
    """  # noqa: D301 - typer keeps the lines after a backspace
    configure_logging(LogSettings(level="error"))
    settings = load_settings(config)
    question = _question(settings, max_wrong_hit_ratio, confidence, trap_share, cost_of_wrong, guards)
    if report is not None:
        _prepare(report)
    met, sources = _labels(files or [], store, settings, traffic, limit=limit)
    compared = met.compared
    worth = worth_of(compared, model=model, output_tokens=output_tokens, at_s=time.time(), costs=settings.costs)
    with progress_bar("Judging", 2 * len(compared)) as (progress, task):
        tuning = tune_pairs(compared, worth, question, lambda count: progress.advance(task, count), met.requests)
    if report is not None:
        _write(report, tuning, sources)
    if json:
        typer.echo(json_format.dumps(as_json(tuning, sources), ensure_ascii=False))
        return
    print_tuning(Console(), tuning, sources)
    if report is not None:
        typer.echo(f"The report is {report}.")


def _question(
    settings: Settings,
    max_wrong_ratio: float,
    confidence: float,
    trap_share: float | None,
    cost_of_wrong_usd: float,
    guards: str | None,
) -> Question:
    for name, value in (("--max-wrong-hit-ratio", max_wrong_ratio), ("--confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise InvalidRequestError(
                f"{name} is {value:g}, and it is a share above 0 and below 1.",
                hint="No number of labels proves that none is ever wrong; 0.01 at 0.95 is usual.",
            )
    if trap_share is not None and not 0.0 <= trap_share <= 1.0:
        raise InvalidRequestError(
            f"--trap-share is {trap_share:g}, and it is a share from 0 to 1.", hint="0.1 means every tenth request."
        )
    decision = settings.decision
    check_threshold(decision.threshold)
    if guards is not None:
        decision = decision.model_copy(update={"guards": read_guards(guards)})
    current = Spec("in force", decision)
    current.decider  # noqa: B018 - raises if the settings name a guard that doesn't exist
    return Question(WrongBudget(max_wrong_ratio, confidence), Mix(trap_share), cost_of_wrong_usd, current)


def _labels(
    files: Sequence[Path], store: Path | None, settings: Settings, traffic: str | None, *, limit: int | None
) -> tuple[LaidOut, Sources]:
    """Return the labelled pairs, compared, with the requests whose candidates they are, and their sources."""
    if store is not None and files:
        raise InvalidRequestError(
            "Labels come from files or from a store, not from both.", hint="Leave one of them out."
        )
    if store is not None:
        return _judged(store, settings)
    if not files:
        raise InvalidRequestError(
            "There is nothing to tune from.", hint="Name files of labelled pairs, or --store with a server's store."
        )
    skipped = SkippedRecords()
    background = _background(traffic, skipped)
    paths = [path for given in files for path in files_of(given)]
    named = [load_named_texts(path, skipped.add) for path in paths]
    pairs = [
        pair
        for path, texts in zip(paths, named, strict=True)
        if texts is None
        for pair in load_pairs(path, on_skipped=skipped.add)[:limit]
    ]
    skipped.finish()
    drawn = [replace(texts, texts=texts.texts[:limit]) for texts in named if texts is not None]
    sources = Sources(tuple(map(str, files)), records_left_out=skipped.count, background=len(background))
    return asyncio.run(_compare(pairs, drawn, background, settings, sources))


def _judged(store: Path, settings: Settings) -> tuple[LaidOut, Sources]:
    judged = read_judged(settings.store.model_copy(update={"path": store}))
    sources = Sources((), store, judged.without_verdict, judged.without_entry, judged.damaged)
    if not judged.hits:
        raise InvalidRequestError(
            f"No hit in the store at {store} has a verdict ({judged.without_verdict:,} have none).",
            reason="TOO_FEW_LABELS",
            hint="Report verdicts on hits (ReportVerdict), or tune from files.",
        )
    compared = pairs_of_hits(judged.hits)
    return LaidOut(compared, one_candidate_each(len(compared))), sources


def _background(traffic: str | None, skipped: SkippedRecords) -> tuple[str, ...]:
    if traffic is None:
        return shipped_background()
    return () if traffic == "none" else read_background(Path(traffic), skipped.add)


async def _compare(
    pairs: list[LabelledPair],
    named: Sequence[NamedTexts],
    background: Sequence[str],
    settings: Settings,
    sources: Sources,
) -> tuple[LaidOut, Sources]:
    embedder = await asyncio.to_thread(open_embedder, settings.embedding)
    total = texts_to_embed(pairs) + sum(len({text for _, text in texts.texts}) for texts in named)
    try:
        with progress_bar("Embedding", total) as (progress, task):

            def advance(count: int) -> None:
                progress.advance(task, count)

            plain = await compare_pairs(pairs, embedder, settings, advance)
            met = await meet_background(plain, background, embedder, settings, {})
            parts, compared, ambiguous = [met.requests], list(met.compared), 0
            for texts in named:
                stream = await read_stream(texts, background, embedder, settings, advance)
                laid = lay_out(stream, settings.decision.k)
                compared += laid.compared
                parts.append(laid.requests)
                ambiguous += stream.ambiguous
            tuned_for = origin_of(embedder.stats())
    finally:
        await embedder.close()
    return LaidOut(tuple(compared), joined(parts)), replace(sources, texts_left_out=ambiguous, tuned_for=tuned_for)


def _prepare(report: Path) -> None:
    """Raise before the work if the report couldn't be written after it."""
    from semcache.reports import require_charts

    require_charts()
    if not report.parent.is_dir():
        raise InvalidRequestError(f"There is no folder {report.parent} for the report.", hint="Create it first.")


def _write(report: Path, tuning: Tuning, sources: Sources) -> None:
    from semcache.reports import tuning_page

    report.write_text(
        tuning_page(tuning, sources.names, from_store=sources.store is not None, tuned_for=sources.tuned_for), "utf-8"
    )
