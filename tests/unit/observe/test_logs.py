"""Log lines: one format for all, private fields redacted, levels obeyed."""

import json
import logging
import sys
import warnings

import pytest
import structlog

from semcache.observe.logs import REDACTED, configure_logging
from semcache.settings import LogSettings


@pytest.fixture
def configure():
    """Configures, and leaves everything as it was."""
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
