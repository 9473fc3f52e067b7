"""Read groups: prompts that deserve one answer, with prompts that share words with them and deserve another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError

BAD_GROUPS = "BAD_FILE"
_HINT = 'A line is {"id": …, "domain": …, "lang": …, "texts": [two texts or more], "traps": [{"text": …, "kind": …}]}.'


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts with one answer, and traps.

    Attributes:
        group_id: its name in messages.
        domain: the subject; groups of one domain are each other's neighbours.
        language: the language's code.
        texts: prompts that deserve one and the same answer, at least two.
        traps: prompts that share words with them and deserve another answer.
    """

    group_id: str
    domain: str
    language: str
    texts: tuple[str, ...]
    traps: tuple[str, ...]

    @property
    def all_texts(self) -> tuple[str, ...]:
        """The texts, then the traps."""
        return self.texts + self.traps


def read_groups(path: Path) -> tuple[Group, ...]:
    """Return the groups of a JSON lines file.

    Raises:
        InvalidRequestError: BAD_FILE, with the file and the line: it can't be read, is empty, holds anything but
            groups, a group of one text, or a text that stands twice with labels that contradict each other.
    """
    try:
        content = path.read_text("utf-8")
    except OSError as error:
        raise InvalidRequestError(
            f"{path} can't be read: {error.strerror or error}.", hint="Name a readable file.", reason=BAD_GROUPS
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{path} isn't UTF-8.", hint=_HINT, reason=BAD_GROUPS) from error
    lines = enumerate(content.split("\n"), 1)
    groups = tuple(_group(f"{path}:{number}", line) for number, line in lines if line.strip())
    if not groups:
        _refuse(str(path), "is empty")
    return groups


def check_labels(groups: tuple[Group, ...]) -> None:
    """Check that the groups don't contradict each other.

    Raises:
        InvalidRequestError: BAD_FILE: two groups have one id, a text is in two groups, or a trap is a text of its own
            group. Groups that share a text would say both that its answers are one and that they are two.
    """
    ids: set[str] = set()
    owners: dict[str, str] = {}
    for group in groups:
        if group.group_id in ids:
            _refuse(f"the group {group.group_id}", "stands twice", "Give each group an id of its own.")
        ids.add(group.group_id)
        for text in group.texts:
            owner = owners.setdefault(folded(text), group.group_id)
            if owner != group.group_id:
                problem = f"has a text that is also in the group {owner}: {text[:60]!r}"
                _refuse(f"the group {group.group_id}", problem, "Join the two groups, or leave the text out of one.")
        both = {folded(text) for text in group.texts} & {folded(trap) for trap in group.traps}
        if both:
            problem = f"has a trap that is also one of its texts: {min(both)[:60]!r}"
            _refuse(f"the group {group.group_id}", problem, "Keep it as the one or as the other.")


def folded(text: str) -> str:
    """Return a text without case and without more than one space: texts that are equal then are one text."""
    return " ".join(text.casefold().split())


def _group(where: str, line: str) -> Group:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InvalidRequestError(f"{where} isn't JSON: {error}.", hint=_HINT, reason=BAD_GROUPS) from error
    if not isinstance(row, dict):
        _refuse(where, "is no JSON object")
    texts = tuple(_texts(where, "texts", row.get("texts")))
    if len(set(map(folded, texts))) < 2:
        hint = "A group needs two texts that deserve one answer; leave it out if it has only one."
        _refuse(where, "is a group of one text", hint)
    traps = row.get("traps", [])
    if not isinstance(traps, list):
        _refuse(where, "has traps that are no list")
    return Group(
        group_id=str(row.get("id") or where),
        domain=str(row.get("domain") or ""),
        language=str(row.get("lang") or ""),
        texts=texts,
        traps=tuple(_texts(where, "traps", [trap.get("text") if isinstance(trap, dict) else trap for trap in traps])),
    )


def _texts(where: str, field: str, values: Any) -> Iterator[str]:
    if not isinstance(values, list):
        _refuse(where, f"has no list of {field}")
    for value in values:
        if not isinstance(value, str) or not value.strip():
            _refuse(where, f"has an empty text, or something else than text, in {field}")
        yield value.strip()


def _refuse(where: str, problem: str, hint: str = _HINT) -> NoReturn:
    raise InvalidRequestError(f"{where} {problem}.", hint=hint, reason=BAD_GROUPS)
