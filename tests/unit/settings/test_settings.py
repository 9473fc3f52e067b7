"""Settings: valid defaults, all problems reported at once, the environment first, the documented file in step."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from semcache.errors import SettingsError
from semcache.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_documented_file_is_in_step_and_loads(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "gen_settings.py", "--check"], check=True, cwd=ROOT)
    assert load_settings(ROOT / "semcache.toml") == Settings()


def test_every_documented_default_is_toml_and_the_default(tmp_path: Path) -> None:
    lines = (ROOT / "semcache.toml").read_text("utf-8").splitlines()
    # Uncomment every setting of the file. Unset ones and lists of tables have no default in it.
    kept = [
        line.removeprefix("# ")
        for line in lines
        if (line.startswith("[") or (line.startswith("# ") and " = " in line)) and '"…"' not in line
    ]
    text = "\n".join(line for line in _without_tables(lines, kept))
    tomllib.loads(text)
    path = tmp_path / "all.toml"
    path.write_text(text, "utf-8")
    assert load_settings(path) == Settings()


def _without_tables(lines: list[str], kept: list[str]) -> list[str]:
    inside = {
        line.removeprefix("# ")
        for start, line in enumerate(lines)
        for line in _table(lines, start)
        if lines[start].startswith("# [[")
    }
    return [line for line in kept if line not in inside or line.startswith("[")]


def _table(lines: list[str], start: int) -> list[str]:
    end = next((n for n in range(start, len(lines)) if not lines[n]), len(lines))
    return lines[start:end]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        '[server]\nhost = "0.0.0.0"\nport = 70000\ncolour = 1\n[store]\nmax_entries = "many"\n[nonsense]\nx = 1\n'
        '[decision]\nthreshold = 1.5\n[costs]\nprice_file = "/nowhere/prices.toml"\n'
        '[[upstream.routes]]\nalias = "fast"\ntarget = "nobody"\n',
        "utf-8",
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    told = " | ".join(caught.value.problems)
    for name in (
        "server.port",
        "server.colour",
        "store.max_entries",
        "nonsense",
        "decision.threshold",
        "costs",
        "nobody",
    ):
        assert name in told
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server", "not TOML"),
        ('[server]\nhost = "0.0.0.0"\n', "not loopback"),
        ("[auth]\nenabled = true\n", "needs at"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=problem):
        load_settings(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml can't be read: No such file"):
        load_settings(tmp_path / "none.toml")


def test_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.toml"
    path.write_text("[server]\nport = 1\ngrace_s = 3.0\n", "utf-8")
    monkeypatch.setenv("SEMCACHE_SERVER__PORT", "2")
    settings = load_settings(path)
    assert (settings.server.port, settings.server.grace_s) == (2, 3.0)


def test_settings_are_frozen_and_hide_secrets() -> None:
    settings = load_settings(None, {"keys": {"secret": "a secret of enough length"}})
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
    assert "enough length" not in repr(settings)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (
            {"answer_bytes": 501, "tenant_stream_bytes": 1_000, "stream_bytes": 1_000},
            "raise tenant_stream_bytes to 1002",
        ),
        ({"answer_bytes": 500, "tenant_stream_bytes": 1_001, "stream_bytes": 1_000}, "may not be above stream_bytes"),
    ],
    ids=["no room for one replayed answer", "a tenant's bound above that of all"],
)
def test_the_bounds_of_streams_fit_into_each_other(limits: dict[str, int], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load_settings(None, {"limits": limits})
    fitting = load_settings(None, {"limits": {**limits, "answer_bytes": 500, "tenant_stream_bytes": 1_000}})
    assert fitting.limits.answer_bytes == 500
