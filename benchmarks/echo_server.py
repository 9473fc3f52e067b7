"""Serve a bare grpc.aio echo on uvloop, with answers of a given size: what an exact hit is compared with."""

from __future__ import annotations

import argparse
import asyncio

import grpc
import uvloop

from benchmarks.worker import say


async def serve(answer_bytes: int) -> None:
    answer = b"\x00" * answer_bytes

    async def echo(_: bytes, __: object) -> bytes:
        return answer

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("benchmarks.Echo", {"Echo": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say({"address": f"127.0.0.1:{port}"})
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, required=True)
    uvloop.run(serve(parser.parse_args().bytes))
