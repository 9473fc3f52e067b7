"""Write the card of an adapter: what it was trained on and how, and what that brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semcache.training.measuring import RankingFigures
from semcache.training.recipe import Recipe

if TYPE_CHECKING:
    from semcache.training.run import Measured

_FIRST_FACT = "| Adapter | SHA-256 of its tensors "
"""How the first line of a card's table begins."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was trained on.

    Attributes:
        name: without its folder.
        sha256: of its bytes, hex.
        groups: how many groups it has; 0 for a file of pairs.
        pairs: how many pairs it has; 0 for a file of groups.
    """

    name: str
    sha256: str
    groups: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Card:
    """All that a card says.

    Attributes:
        name: of the adapter.
        sha256: over its tensors, hex.
        model: the embedding model's name.
        base_sha256: of its weights, hex.
        version: of semcache.
        command: the command line.
        seed: the first seed.
        recipe: the numbers.
        files: what was trained on.
        licence: of the data, as its owner states it; empty where it isn't stated.
        trained: groups and pairs that were trained on.
        held_domains: domains that were held back whole.
        measured: the held-back parts.
        seconds: that the training took.
    """

    name: str
    sha256: str
    model: str
    base_sha256: str
    version: str
    command: str
    seed: int
    recipe: Recipe
    files: Sequence[DataFile]
    licence: str
    trained: tuple[int, int]
    held_domains: Sequence[str]
    measured: Sequence[Measured]
    seconds: float


def as_markdown(card: Card) -> str:
    """Return the card as a page."""
    facts = {
        "Adapter": f"SHA-256 of its tensors {card.sha256}",
        "Embedding model": f"{card.model}, SHA-256 of its weights {card.base_sha256}",
        "Made by": f"semcache {card.version}, `{card.command}`",
        "Seeds": ", ".join(str(card.seed + run) for run in range(card.recipe.seeds)),
        "Licence of the data": card.licence or "not stated",
        "Trained on": f"{card.trained[0]:,} groups and {card.trained[1]:,} pairs",
        "Time": f"{card.seconds / 60:.1f} minutes",
    }
    files = [[file.name, f"{file.groups:,}", f"{file.pairs:,}", file.sha256] for file in card.files]
    return "\n".join(
        [
            f"# {card.name}",
            "",
            _table(["", ""], [[name, fact] for name, fact in facts.items()]),
            "",
            "## Data",
            "",
            _table(["file", "groups", "pairs", "SHA-256"], files),
            "",
            "Edits made by rules and frames (`semcache/training`) are added to them.",
            "",
            "## Held back",
            "",
            *_held_back(card),
            "",
            "## Settings",
            "",
            _table(["setting", "value"], [[name, f"{value:g}"] for name, value in _numbers(card.recipe).items()]),
            "",
        ]
    )


def is_card(path: Path) -> bool:
    """Return whether a file is a card that `as_markdown` made for an adapter of the file's name.

    Such a file without its adapter is what a training leaves that was killed while it wrote them.
    """
    try:
        page = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return page.startswith(f"# {path.stem}\n") and f"\n{_FIRST_FACT}" in page


def _numbers(recipe: Recipe) -> Mapping[str, float]:
    return asdict(recipe)


def _held_back(card: Card) -> list[str]:
    if not card.measured:
        return ["Nothing was held back, so nothing is known of what it does to texts that it hasn't seen."]
    rows = [
        [
            measured.part,
            f"{measured.before.hits:,} / {measured.before.traps:,}",
            *(_figures(figures) for figures in (measured.before, measured.after)),
        ]
        for measured in card.measured
    ]
    domains = f"Domains held back whole: {', '.join(card.held_domains)}." if card.held_domains else ""
    return [
        "Area under the curve (AUC) of the cosine, and hits served at 5 % of the traps. The guards aren't asked.",
        "",
        _table(["part", "hits / traps", "before", "after"], rows),
        *(["", domains] if domains else []),
    ]


def _figures(figures: RankingFigures) -> str:
    if figures.auc is None or figures.hits_served is None:
        return "unknown: it needs hits and traps"
    return f"{figures.auc:.3f}; {100 * figures.hits_served:.1f} %"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
