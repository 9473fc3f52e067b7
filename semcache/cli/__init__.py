"""The command `semcache`: reads options, calls one of the other rooms, and prints tables or one JSON object.

Each command is a module; `main.py` lists them and turns an error into a sentence, a hint and an exit code. Tables for
people and JSON for programs are made in modules named `…_tables`. The room starts no thread and remembers nothing.
"""

from semcache.cli.main import main

__all__ = ["main"]
