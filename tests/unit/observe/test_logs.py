"""Log lines: one form for all, private fields are redacted, levels are obeyed, and a request's lines have its id."""

import asyncio
import json
import logging
import sys
import warnings

import pytest
import structlog

from semcache.observe.logs import REDACTED, bound, configure_logging
from semcache.settings import LogSettings


@pytest.fixture
def configure():
    """Configure logging, and restore everything afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield lambda **settings: configure_logging(LogSettings(**settings))
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys):
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_where_standard_error_is_no_terminal(configure, lines):
    configure()

    structlog.get_logger("semcache.x").info("store.opened", entries=3)

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "store.opened", "entries": 3, "level": "info", "logger": "semcache.x"}


def test_a_terminal_gets_text(configure, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure()

    structlog.get_logger("semcache.x").info("store.opened", entries=3)

    assert "store.opened" in capsys.readouterr().err


def test_console_can_be_asked_for(configure, capsys):
    configure(format="console")

    structlog.get_logger("semcache.x").warning("store.full", bytes=3)

    error = capsys.readouterr().err
    assert "store.full" in error
    assert "\x1b" not in error


def test_the_standard_librarys_lines_look_the_same(configure, lines):
    configure()

    logging.getLogger("grpc").warning("gone %s", "away")

    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == ("gone away", "warning", "grpc")


def test_warnings_are_lines_too(configure, lines):
    configure()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)

    assert "UserWarning: old" in lines()[0]["event"]


@pytest.mark.parametrize("field", ["prompt", "text", "body", "messages", "api_key", "authorization", "exact_key"])
def test_private_fields_are_redacted(configure, lines, field):
    configure()

    structlog.get_logger("semcache.x").error("failed", **{field: "hunter2"}, status=3)

    (line,) = lines()
    assert line[field] == REDACTED
    assert line["status"] == 3


def test_lines_below_the_level_are_left_out(configure, lines):
    configure(level="warning")

    structlog.get_logger("semcache.x").info("quiet")
    logging.getLogger("y").info("quiet")
    structlog.get_logger("semcache.x").warning("loud")

    assert [line["event"] for line in lines()] == ["loud"]


def test_an_exception_stays_on_its_line(configure, lines):
    configure()

    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("semcache.x").exception("failed")

    (line,) = lines()
    assert "ValueError: broken" in line["exception"]


def test_configuring_again_replaces(configure, lines):
    configure()
    configure()

    structlog.get_logger("semcache.x").info("once")

    assert len(lines()) == 1


def test_lines_of_a_request_have_its_id(configure, lines):
    configure()
    log = structlog.get_logger("semcache.x")

    log.info("x.before")
    with bound("r1"):
        log.info("x.within")
        logging.getLogger("grpc").warning("library")
        with bound("r2"):
            log.info("x.inner")
        log.info("x.outer")
    log.info("x.after")

    assert [(line["event"], line.get("request_id")) for line in lines()] == [
        ("x.before", None),
        ("x.within", "r1"),
        ("library", "r1"),
        ("x.inner", "r2"),
        ("x.outer", "r1"),
        ("x.after", None),
    ]


def test_the_block_ends_with_an_error_too(configure, lines):
    configure()

    with pytest.raises(ValueError, match="broken"), bound("r1"):
        raise ValueError("broken")
    structlog.get_logger("semcache.x").info("x.after")

    assert "request_id" not in lines()[0]


def test_a_line_that_names_its_request_keeps_it(configure, lines):
    configure()

    with bound("r1"):
        structlog.get_logger("semcache.x").info("x.other", request_id="r2")

    assert lines()[0]["request_id"] == "r2"


async def test_a_task_keeps_the_id_of_the_request_that_made_it(configure, lines):
    configure()
    log = structlog.get_logger("semcache.x")
    ended = asyncio.Event()

    async def work():
        await ended.wait()
        log.info("x.late")

    with bound("r1"):
        task = asyncio.create_task(work())
    with bound("r2"):
        ended.set()
        await task

    assert lines()[0]["request_id"] == "r1"


async def test_requests_at_once_dont_mix_their_ids(configure, lines):
    configure()
    log = structlog.get_logger("semcache.x")

    async def request(name):
        with bound(name):
            for step in range(3):
                log.info("x.step", expected=name, step=step)
                await asyncio.sleep(0)

    await asyncio.gather(*(request(f"r{number}") for number in range(4)))

    logged = lines()
    assert len(logged) == 12
    assert all(line["request_id"] == line["expected"] for line in logged)


async def test_a_generator_may_be_closed_by_another_task(configure, lines):
    configure()

    async def answer():
        with bound("r1"):
            yield b"chunk"
            yield b"never"

    stream = answer()

    async def first():
        return await anext(stream)

    assert await asyncio.create_task(first()) == b"chunk"
    await asyncio.create_task(stream.aclose())
    structlog.get_logger("semcache.x").info("x.after")

    assert "request_id" not in lines()[0]


@pytest.mark.parametrize(
    "name", ["httpx2", "httpcore2.http11", "httpcore2.connection", "httpx", "httpcore.http2", "hpack"]
)
def test_no_library_logs_headers_even_at_debug(configure, lines, name):
    configure(level="debug")
    logging.getLogger(name).debug("receive_response_headers.complete return_value=%r", [(b"set-cookie", b"secret")])
    logging.getLogger(name).info('HTTP Request: POST https://example.com/v1?key=secret "HTTP/1.1 200 OK"')
    logging.getLogger(name).warning("kept")
    assert [line["event"] for line in lines()] == ["kept"]
