"""The shape of the house: small modules, short functions, no room too large, every class name once."""

import ast
from collections import Counter
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2] / "semcache"
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_ROOM_SHARE = 0.1
GENERATED = {"v1"}
MODULES = sorted(path for path in HOUSE.rglob("*.py") if path.relative_to(HOUSE).parts[0] not in GENERATED)


def named(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def test_modules_are_small():
    lines = {named(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_functions_are_short():
    long = {
        f"{named(path)}:{node.name}": lines
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := length(node)) > MAX_FUNCTION_LINES
    }
    assert long == {}


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    last = node.end_lineno or node.lineno
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return last - node.lineno + 1 - docstring


def test_no_room_holds_more_than_a_tenth_of_the_lines():
    lines = Counter()
    for path in MODULES:
        lines[path.relative_to(HOUSE).parts[0]] += len(path.read_text("utf-8").splitlines())
    total = lines.total()
    assert {room: count for room, count in lines.items() if count > MAX_ROOM_SHARE * total} == {}


def test_every_class_name_stands_for_one_thing():
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert {name: count for name, count in names.items() if count > 1} == {}
