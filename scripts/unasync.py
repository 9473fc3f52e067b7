"""Writes semcache/client/synchronous.py from asynchronous.py, or with --check says whether the two are in step.

The source is read as tokens, so that a word is replaced where it is a name and never inside another word:

1. `async` and `await` are dropped.
2. Names are replaced by their counterparts (`NAMES`), and `grpc.aio` by `grpc`.
3. Phrases inside docstrings are replaced (`PHRASES`), and the module's docstring gives way to `HEADER`.
4. ruff lays the lines out anew, because the words have other lengths now, and sorts the imports.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import token
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "semcache" / "client" / "asynchronous.py"
TARGET = ROOT / "semcache" / "client" / "synchronous.py"
HEADER = '''\
"""The client for threads and scripts: the calls of the client for asyncio, blocking.

Generated from asynchronous.py by `python scripts/unasync.py`: change that file, then run the script again.
"""'''
DROPPED = {"async", "await"}
AIO = ["grpc", ".", "aio"]
NAMES = {
    "AnswerStream": "SyncAnswerStream",
    "AsyncChannel": "SyncChannel",
    "AsyncFrames": "SyncFrames",
    "AsyncIterator": "Iterator",
    "Client": "SyncClient",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
}
PHRASES = {
    "`async with`": "`with`",
    "for one event loop": "safe to share between threads",
}


def main() -> None:
    """Write the synchronous client, or with --check compare it; exit with status 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on a difference")
    check = parser.parse_args().check
    fresh = formatted(synchronous(SOURCE.read_text("utf-8")))
    committed = TARGET.read_text("utf-8") if TARGET.exists() else ""
    name = TARGET.relative_to(ROOT)
    if fresh == committed:
        print(f"{name} is what asynchronous.py gives")
    elif check:
        sys.exit(f"unasync: {name} is not what asynchronous.py gives: run scripts/unasync.py and commit the result")
    else:
        TARGET.write_text(fresh, "utf-8")
        print(f"wrote {name}")


def synchronous(source: str) -> str:
    """Return the blocking counterpart of an asyncio module's source, not yet laid out."""
    body = tokenize.untokenize(_words(source))
    docstring, separator, rest = body.partition('"""\n')
    if not docstring.startswith('"""') or not separator:
        raise ValueError("The source doesn't begin with a docstring of several lines.")
    return f"{HEADER}\n{rest}"


def formatted(source: str) -> str:
    """Return the source with its lines laid out and its imports sorted by ruff."""
    for command in (["format", "--quiet"], ["check", "--fix-only", "--select=I", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, f"--stdin-filename={TARGET}", "-"]
        source = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return source


def _words(source: str) -> Iterator[tuple[int, str]]:
    """Yield the counterpart's tokens as (type, text). They have no positions, so `untokenize` chooses the spaces."""
    words = [(word.type, word.string) for word in tokenize.generate_tokens(io.StringIO(source).readline)]
    position = 0
    while position < len(words):
        kind, text = words[position]
        following = [text for _, text in words[position : position + len(AIO)]]
        if following == AIO:
            yield kind, "grpc"
            position += len(AIO)
            continue
        position += 1
        if kind == token.NAME and text not in DROPPED:
            yield kind, NAMES.get(text, text)
        elif kind == token.STRING:
            for phrase, counterpart in PHRASES.items():
                text = text.replace(phrase, counterpart)
            yield kind, text
        elif kind != token.NAME:
            yield kind, text


if __name__ == "__main__":
    main()
