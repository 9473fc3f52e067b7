"""Small groups to train on, and their file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semcache.training.groups import Group

_TOPICS = ("kettle", "ladder", "violin", "tent", "saddle", "lamp", "stove", "drum", "canoe", "loom", "anvil", "quilt")


def rows() -> list[dict[str, Any]]:
    """Returns twelve groups of three domains."""
    return [
        {
            "id": f"g{number}",
            "domain": f"domain {number % 3}",
            "lang": "en",
            "texts": [f"how do I mend my {topic}", f"repair of a broken {topic}", f"fix the {topic} for me"],
            "traps": [
                {"text": f"how do I sell my {topic}", "kind": "verb"},
                {"text": f"how do I mend two of my {topic}s", "kind": "number"},
            ],
        }
        for number, topic in enumerate(_TOPICS)
    ]


def write_groups(path: Path, chosen: Iterable[dict[str, Any]] | None = None) -> Path:
    """Writes groups to a file and returns it."""
    lines = [json.dumps(row) for row in (rows() if chosen is None else chosen)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def groups() -> tuple[Group, ...]:
    """Returns the twelve groups."""
    return tuple(
        Group(row["id"], row["domain"], row["lang"], tuple(row["texts"]), tuple(trap["text"] for trap in row["traps"]))
        for row in rows()
    )
