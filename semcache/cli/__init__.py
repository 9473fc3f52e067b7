"""The command `semcache`."""

from semcache.cli.main import main

__all__ = ["main"]
