"""Log events: each is named `room.event`, and `docs/operations.md` says of each its level and what to do."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import semcache

PACKAGE = Path(semcache.__file__).parent
TABLE = PACKAGE.parent / "docs" / "operations.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
SUBJECTS = {"decision": {"guard"}, "server": {"audit", "secret", "tls"}}
"""Rooms whose events may begin with a subject's name in place of the room's."""
ROW = re.compile(r"^\| `([^`]+)` \| (\w+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


class Logged(NamedTuple):
    """One call of a logger: its room, place, event and level. The event is None where it isn't a literal."""

    room: str
    place: str
    event: str | None
    level: str


def log_calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call of `_log`, with its level."""
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if isinstance(function, ast.Attribute) and ast.unparse(function.value) == "_log" and function.attr in LEVELS:
            yield node, LEVELS[function.attr]


def literal(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def logged_in(source: str, room: str, place: str) -> Iterator[Logged]:
    """Yield what a module logs: directly, or through a function of its own that takes the event's name first."""
    tree = ast.parse(source)
    through: dict[str, str] = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.args.args:
            for call, level in log_calls(function):
                if isinstance(call.args[0], ast.Name) and call.args[0].id == function.args.args[0].arg:
                    through[function.name] = level
    passed_on = {id(call) for call, _ in log_calls(tree) if isinstance(call.args[0], ast.Name)}
    for call, level in log_calls(tree):
        if id(call) not in passed_on or not through:
            yield Logged(room, f"{place}:{call.lineno}", literal(call), level)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in through:
            yield Logged(room, f"{place}:{node.lineno}", literal(node), through[node.func.id])


@cache
def logged() -> tuple[Logged, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        room = place.parts[0].removesuffix(".py")
        found += logged_in(path.read_text("utf-8"), room, str(place))
    return tuple(found)


def documented() -> dict[str, str]:
    """Return the table of the documentation: level by event."""
    text = TABLE.read_text("utf-8")
    section = text.split("\n## Log events\n")[1].split("\n## ")[0]
    return dict(ROW.findall(section))


ROOMS = sorted({line.room for line in logged()})


def test_every_room_that_logs_is_seen():
    assert {"costs", "embedding", "index", "observe", "server", "store", "upstream"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_events_are_named_after_their_room(room):
    subjects = {room} | SUBJECTS.get(room, set())
    named = re.compile(rf"({'|'.join(sorted(subjects))})\.[a-z]+(_[a-z]+)*")

    wrong = [line for line in logged() if line.room == room and not (line.event and named.fullmatch(line.event))]

    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_documentation_lists_the_events_of_a_room_with_their_levels(room):
    subjects = {room} | SUBJECTS.get(room, set())

    in_code = {(line.event, line.level) for line in logged() if line.room == room}
    in_table = {(event, level) for event, level in documented().items() if event.partition(".")[0] in subjects}

    assert in_code == in_table


def test_the_documentation_lists_no_events_of_rooms_that_dont_log():
    rooms = set(ROOMS).union(*(SUBJECTS.get(room, set()) for room in ROOMS))

    assert {event.partition(".")[0] for event in documented()} <= rooms


def test_the_table_is_sorted():
    events = list(documented())

    assert events == sorted(events)
    assert len(events) == len(set(events))


def test_an_event_passed_on_by_a_function_is_found():
    source = """
_log = get_logger()
def _report(event: str, **fields: object) -> None:
    _log.exception(event, **fields)
def work() -> None:
    _report("x.failed", number=3)
    _log.info("x.done")
"""

    assert {(line.event, line.level) for line in logged_in(source, "x", "x.py")} == {
        ("x.failed", "error"),
        ("x.done", "info"),
    }


def test_an_event_that_is_no_literal_is_reported():
    source = "def work(name):\n    _log.info(name + '.done')\n"

    assert [line.event for line in logged_in(source, "x", "x.py")] == [None]
