"""Writes semcache.toml, which documents every setting, from the settings' docstrings; with --check it compares."""

from __future__ import annotations

import inspect
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from semcache.settings import Section, Settings

TARGET = Path(__file__).resolve().parent.parent / "semcache.toml"
HEADER = """\
# semcache.toml: every setting with its default. A line that is commented out stands for the default; uncomment it to
# change it. The environment beats this file: SEMCACHE_SERVER__PORT=50052 sets [server] port.
# Written from the settings themselves; `python scripts/gen_settings.py` writes it anew.
"""


def main() -> int:
    """Write the file and return 0; with --check, return 1 if the file differs."""
    text = HEADER + "".join(_section(name, field.annotation) for name, field in Settings.model_fields.items())
    if "--check" in sys.argv:
        if TARGET.read_text("utf-8") == text:
            return 0
        sys.stderr.write("semcache.toml is not in step with semcache/settings: run scripts/gen_settings.py\n")
        return 1
    TARGET.write_text(text, "utf-8")
    return 0


def _section(path: str, model: Any) -> str:
    lines = ["", *_comment(inspect.getdoc(model) or ""), f"[{path}]"]
    nested = []
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None and not _is_list(field.annotation):
            nested.append(_section(f"{path}.{name}", inner))
        elif inner is not None:
            nested.append(_list_section(f"{path}.{name}", inner, field.description or ""))
        else:
            lines += _comment(field.description or "")
            lines.append(f"# {name} = {_value(field.get_default(call_default_factory=True))}")
    return "\n".join(lines) + "\n" + "".join(nested)


def _list_section(path: str, model: type[BaseModel], description: str) -> str:
    lines = ["", *_comment(description or inspect.getdoc(model) or ""), f"# [[{path}]]"]
    for name, field in model.model_fields.items():
        lines += _comment(field.description or "")
        required = "  # required" if field.is_required() else ""
        value = '"…"' if field.is_required() else _value(field.get_default(call_default_factory=True))
        lines.append(f"# {name} = {value}{required}")
    return "\n".join(lines) + "\n"


def _section_of(annotation: Any) -> type[Section] | None:
    """Return the section class that a field holds, alone or in a tuple; None if it holds none."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _comment(text: str) -> list[str]:
    paragraphs = " ".join(text.split())
    return [f"# {line}" for line in textwrap.wrap(paragraphs, 110)]


def _value(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return '"…"  # unset by default'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:_}" if isinstance(value, int) and value >= 100_000 else repr(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{}"
    text = str(value)
    return (
        f"'{text}'" if "\\" in text and "'" not in text else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


if __name__ == "__main__":
    raise SystemExit(main())
