"""Serve a bare Starlette echo on uvicorn, httptools and uvloop, with answers of a given size."""

from __future__ import annotations

import argparse
import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.worker import say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, required=True)
    answer = b"a" * parser.parse_args().bytes

    async def echo(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        say({"address": f"127.0.0.1:{listener.getsockname()[1]}"})
        app = Starlette(routes=[Route("/v1/chat/completions", echo, methods=["POST"])])
        config = uvicorn.Config(app, http="httptools", access_log=False, log_level="warning", lifespan="off")
        await uvicorn.Server(config).serve(sockets=[listener])

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
