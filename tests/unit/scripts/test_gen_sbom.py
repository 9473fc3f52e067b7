"""The bill of materials names every package that the locks pin, with its hashes, and is the same each time."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = runpy.run_path(str(ROOT / "scripts" / "gen_sbom.py"))
NAMES = sorted(FUNCTIONS["LOCKS"])


def bill(name: str) -> dict[str, Any]:
    return json.loads(FUNCTIONS["text_of"](name))


def lines(name: str) -> list[str]:
    return [
        line
        for file in FUNCTIONS["LOCKS"][name]
        for line in (ROOT / "requirements" / file).read_text("utf-8").splitlines()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_pin_is_a_component_with_the_hashes_of_its_files(name: str) -> None:
    pinned = [line.split(" ")[0].split("==") for line in lines(name) if line[:1].isalnum()]
    components = bill(name)["components"]
    assert len(pinned) > 50
    assert sorted([each["name"], each["version"]] for each in components) == sorted(map(list, {*map(tuple, pinned)}))
    hashes = {line.split("sha256:")[1].rstrip(" \\") for line in lines(name) if "--hash" in line}
    listed = [entry for each in components for file in each["externalReferences"] for entry in file.get("hashes", ())]
    assert {entry["content"] for entry in listed} == hashes
    assert {each["name"] for each in components if "hashes" not in each["externalReferences"][0]} <= {"torch"}


@pytest.mark.parametrize("name", NAMES)
def test_every_package_is_needed_by_the_project_or_by_one_that_is(name: str) -> None:
    whole = bill(name)
    needs = {each["ref"]: each["dependsOn"] for each in whole["dependencies"]}
    reached = [whole["metadata"]["component"]["bom-ref"]]
    for ref in reached:
        reached += [needed for needed in needs[ref] if needed not in reached]
    assert sorted(reached) == sorted(needs)
    assert len(needs) == len(whole["components"]) + 1


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_each_time(name: str) -> None:
    assert FUNCTIONS["text_of"](name) == FUNCTIONS["text_of"](name)
    assert not {"serialNumber", "timestamp"} & (bill(name).keys() | bill(name)["metadata"].keys())


def test_a_condition_is_kept() -> None:
    pins = FUNCTIONS["pins_of"]("a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64 + "\n    # via b\n")
    (pin,) = pins
    assert (pin.name, pin.marker, pin.needed_by) == ("a", "sys_platform == 'win32'", ("b",))


@pytest.mark.parametrize("line", ["a>=1", "-r other.txt", "a @ https://example.org/a.whl", "    --hash=md5:0"])
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="neither a pin"):
        list(FUNCTIONS["pins_of"](f"b==1\n{line}\n"))
