"""Write the digests of the texts that semcache's quality is reported on, which `semcache train` refuses.

They are those of tests/quality, of fow-cache, of the reported halves of the streams' sources, and of the statement
pairs of PAWS and SemAntoNeg. It needs the shared data (SEMCACHE_SHARED_DATA). `--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.hit_rate import split
from benchmarks.hit_rate.prompts import lines, shared_corpora
from benchmarks.shared_data import folder
from semcache.training.tested import FILE, digest

_ROOT = Path(__file__).resolve().parents[1]
_WHOLE = ("fow_cache/pairs.jsonl", "pairs/paws_wiki_dev.jsonl", "pairs_sa/semantoneg.jsonl")
"""Files of the shared data that are reported on as a whole."""
_SHORTEST = 16
"""Characters of a text from which it is refused: a shorter one ("go on, please") may be anyone's by chance."""


def main() -> None:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the file isn't what would be written")
    options = parser.parse_args()
    data = folder()
    if data is None:
        sys.exit("The digests are made from the shared data. Set SEMCACHE_SHARED_DATA to its folder.")
    content = b"".join(sorted({digest(text) for text in _texts(data) if len(text) >= _SHORTEST}))
    if options.check:
        sys.exit(0 if FILE.read_bytes() == content else f"{FILE} is out of date: run scripts/gen_tested_texts.py.")
    FILE.write_bytes(content)
    print(f"written to {FILE}: {len(content):,} bytes")


def _texts(data: Path) -> Iterator[str]:
    for path in (*(data / name for name in _WHOLE), *sorted((_ROOT / "tests/quality").glob("*.jsonl"))):
        for row in lines(path):
            yield from _prompts(row)
    corpus = shared_corpora(data, split.read())["reported"]
    prompts = [*corpus.unique, *corpus.paired, *(prompt for some in corpus.clusters.values() for prompt in some)]
    yield from (prompt.text for prompt in prompts)


def _prompts(row: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of a record: its sides, which are texts or lists of messages, and its text."""
    for value in (row.get(field) for field in ("a", "b", "text", "question1", "question2", "sentence1", "sentence2")):
        if isinstance(value, str):
            yield value
        elif value is not None:
            yield from (message["content"] for message in value if message["role"] == "user")


if __name__ == "__main__":
    main()
