"""Writes the prompts of other traffic that `semcache tune` ships, from training/groups; with --check it compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "semcache" / "evaluation" / "tune" / "background.txt"
FILES = (
    *("conditions", "deciding_words", "everyday", "formats", "knowledge"),
    *("neighbouring_intents", "overview_aspect", "programming", "roles", "support"),
)
"""The groups in English with short prompts."""
EVERY = 4
"""One group of four: 414 prompts, 24 kB. What a labelled text meets is mostly the labelled texts beside it."""


def main() -> int:
    """Write the file and return 0; with --check, return 1 if the file differs."""
    text = "".join(f"{prompt}\n" for prompt in _prompts())
    if "--check" in sys.argv:
        if TARGET.read_text("utf-8") == text:
            return 0
        sys.stderr.write("background.txt is not in step with training/groups: run scripts/gen_background.py\n")
        return 1
    TARGET.write_text(text, "utf-8")
    return 0


def _prompts() -> list[str]:
    """Return the first text of every fourth group: no two of them share an answer."""
    prompts = []
    for name in FILES:
        lines = (ROOT / "training" / "groups" / f"{name}.jsonl").read_text("utf-8").splitlines()
        prompts += [json.loads(line)["texts"][0] for line in lines[::EVERY]]
    return [" ".join(prompt.split()) for prompt in prompts]


if __name__ == "__main__":
    sys.exit(main())
