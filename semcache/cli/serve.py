"""`semcache serve`: runs the server."""

from __future__ import annotations

import asyncio

import uvloop

from semcache.cli.options import Config
from semcache.observe.logs import configure_logging
from semcache.server.process import serve as serve_until_stopped
from semcache.settings import load_settings


def serve(config: Config = None) -> None:
    """Run the server until SIGTERM or Ctrl-C; calls under way are finished first."""
    settings = load_settings(config)
    configure_logging(settings.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(settings))
