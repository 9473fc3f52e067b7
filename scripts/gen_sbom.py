"""Writes a software bill of materials (CycloneDX 1.6, JSON) of what `requirements/*.lock` pins, without the network.

`python scripts/gen_sbom.py cpu|gpu [--out FILE]`. Equal locks give equal bytes: there is no time and no serial number.
Each package has its version, the condition under which it is installed, the hashes of all its files, and what needs it.

It isn't committed. The locks are, and a copy of what follows from them could only be out of date; whoever has a commit
can make its bill again.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCKS = {"cpu": ("cpu.lock", "torch-cpu.txt"), "gpu": ("gpu.lock",)}
"""By name of a bill, the files that pin what is installed."""
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]*?))?\s*\\?")
_HASH = re.compile(r"\s+--hash=sha256:([0-9a-f]{64})\s*\\?")
_ASKED_BY = re.compile(r"\s+#\s+(?:via\s+)?-(?P<option>[rc])\s+\S+")
_NEEDED_BY = re.compile(r"\s+#\s+(?:via\s+)?([A-Za-z0-9][\w.-]*)(?:\s+\(.*\))?")


@dataclass(frozen=True, slots=True)
class Pin:
    """One pin of a lock: a package's version, its condition as pip reads it, hashes of its files, and what needs it.

    `needed_by` has the names of packages, and an empty one for the project's own files.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    needed_by: tuple[str, ...]

    @property
    def ref(self) -> str:
        """The package URL."""
        return f"pkg:pypi/{normal(self.name)}@{self.version}"


def normal(name: str) -> str:
    """Return a package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_of(text: str) -> Iterator[Pin]:
    """Yield the pins of a requirements file that uv or a person wrote.

    Raises:
        ValueError: a line is none that such a file has, so that no package is left out unnoticed.
    """
    pin: re.Match[str] | None = None
    hashes: list[str] = []
    needed_by: list[str] = []
    for line in [*text.splitlines(), "end==0"]:
        if not line.strip() or line.startswith("#") or line.strip() == "# via":
            continue
        match = _PIN.fullmatch(line)
        if match:
            if pin is not None:
                yield Pin(pin["name"], pin["version"], (pin["marker"] or "").strip(), tuple(hashes), tuple(needed_by))
            pin, hashes, needed_by = match, [], []
        elif pin is not None and (match := _HASH.fullmatch(line)):
            hashes.append(match[1])
        elif pin is not None and (match := _ASKED_BY.fullmatch(line)):
            needed_by += [""] if match["option"] == "r" else []  # The other option names a constraint.
        elif pin is not None and (match := _NEEDED_BY.fullmatch(line)):
            needed_by.append(normal(match[1]))
        else:
            raise ValueError(f"a line that is neither a pin, nor a hash, nor a comment: {line!r}")


def component(pin: Pin) -> dict[str, Any]:
    """Return what the bill says of one package."""
    files: dict[str, Any] = {
        "type": "distribution",
        "url": f"https://pypi.org/project/{normal(pin.name)}/{pin.version}/",
    }
    if pin.hashes:
        files["hashes"] = [{"alg": "SHA-256", "content": digest} for digest in pin.hashes]
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.ref,
        "name": normal(pin.name),
        "version": pin.version,
        "purl": pin.ref,
        "externalReferences": [files],
    }
    if pin.marker:
        described["properties"] = [{"name": "pip:environment_marker", "value": pin.marker}]
    return described


def bill(project: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the bill of one of `LOCKS`.

    Args:
        project: the table `project` of pyproject.toml.
        name: a key of `LOCKS`.
    """
    by_ref = {pin.ref: pin for file in LOCKS[name] for pin in pins_of((REQUIREMENTS / file).read_text("utf-8"))}
    pins = [by_ref[ref] for ref in sorted(by_ref)]
    root = f"pkg:pypi/{project['name']}@{project['version']}"
    # A lock names what needs a package, a bill what a package needs. What no other package needs, the project does.
    needs: dict[str, list[str]] = {root: [], **{pin.ref: [] for pin in pins}}
    refs_of: dict[str, list[str]] = {}
    for pin in pins:
        refs_of.setdefault(normal(pin.name), []).append(pin.ref)
    for pin in pins:
        users = [ref for user in pin.needed_by for ref in refs_of.get(user, ())]
        if not users or not {"", normal(project["name"])}.isdisjoint(pin.needed_by):
            users.append(root)
        for user in users:
            needs[user].append(pin.ref)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
                "purl": root,
            }
        },
        "components": [component(pin) for pin in pins],
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(needs[ref]))} for ref in sorted(needs)],
    }


def text_of(name: str) -> str:
    """Return the bill of one of `LOCKS` as JSON."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return json.dumps(bill(project, name), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Run the command."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("name", choices=sorted(LOCKS))
    arguments.add_argument("--out", type=Path, help="the file; none: standard output")
    options = arguments.parse_args()
    text = text_of(options.name)
    if options.out is None:
        sys.stdout.write(text)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, "utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
