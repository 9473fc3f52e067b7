"""The demo's options are checked before anything starts, and its server never uses a user's store or keys."""

from pathlib import Path

import pytest

from semcache.demo import stack
from semcache.demo.run import DemoOptions, run
from semcache.demo.stack import running_provider, scripted_upstream
from semcache.errors import InvalidRequestError, StartError
from semcache.server.temporary import temporary_settings
from semcache.settings import load_settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DemoOptions(requests=0), "requests must be at least 1"),
        (DemoOptions(callers=0), "callers must be at least 1"),
        (DemoOptions(latency_scale=-1), "latency_scale must be 0 to 10"),
        (DemoOptions(prompts=Path("/no/such/file")), "can't be read"),
    ],
)
async def test_options_that_make_no_sense_start_nothing(options, words, monkeypatch):
    monkeypatch.setattr(stack.asyncio, "create_subprocess_exec", None)
    with pytest.raises(InvalidRequestError, match=words):
        await run(options)


def test_the_environment_moves_the_threshold_but_not_the_store_or_the_ports(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMCACHE_DECISION__THRESHOLD", "0.9")
    monkeypatch.setenv("SEMCACHE_STORE__PATH", "/somewhere/precious")
    monkeypatch.setenv("SEMCACHE_SERVER__PORT", "50051")
    upstream = scripted_upstream("http://127.0.0.1:1/v1", ["my-model"])
    settings = temporary_settings(load_settings(), tmp_path / "store", upstream=upstream)
    assert settings.decision.threshold == 0.9
    assert settings.store.path == tmp_path / "store"
    assert (settings.server.host, settings.server.port, settings.metrics.port) == ("127.0.0.1", 0, 0)
    assert {"gpt-4o-mini", "gpt-4o", "my-model"} <= {route.alias for route in settings.upstream.routes}
    assert {route.target for route in settings.upstream.routes} == {"scripted"}


async def test_a_provider_that_does_not_come_up_is_said_so():
    # A module that runs, but prints no address.
    with pytest.raises(StartError, match="did not come up"):
        async with running_provider(seed=1, latency_scale=0.0, module="json"):
            pass


async def test_the_provider_ends_with_the_demo():
    async with running_provider(seed=1, latency_scale=0.0) as base_url:
        host, _, port = base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        _, writer = await stack.asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
    with pytest.raises(OSError, match=r"onnect"):
        await stack.asyncio.open_connection(host, int(port))
