"""The commands `semcache store …` at a terminal."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from semcache.cli.main import app
from semcache.store import check
from tests.support.encrypted_stores import fill, in_clear, settings_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    settings = settings_of(tmp_path)
    path = tmp_path / "semcache.toml"
    path.write_text(
        f'[store]\npath = "{settings.path}"\nmap_size_bytes = {settings.map_size_bytes}\n'
        f'[store.encryption.key]\nfile = "{settings.encryption.key.file}"\n',
        "utf-8",
    )
    return path


def run(*arguments: str, answer: str = "") -> str:
    result = CliRunner().invoke(app, ["store", *arguments], input=answer)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.output


async def test_a_store_is_encrypted_and_a_tenant_erased(tmp_path, config):
    await fill(in_clear(tmp_path))
    (tmp_path / "store" / "data.mdb.damaged-20261201T000000Z").touch()
    told = run("encrypt", "--config", str(config))
    assert "11 rows are encrypted; none is in clear." in told
    assert "data.mdb.damaged-20261201T000000Z was kept by a repair" in told.replace("\n", "")
    assert "11 rows are encrypted" in run("encrypt", "--new-keys", "--config", str(config))
    assert "under this master key already" in run("master-key", "--config", str(config))

    run("erase", "acme-corporation", "--config", str(config), answer="n\n")
    assert check(settings_of(tmp_path)).rows["entries"] == 1
    told = run("erase", "acme-corporation", "--config", str(config), "--with-sums", answer="y\n")
    assert "The tenant 'acme-corporation' is erased: 1 keys destroyed." in told
    report = check(settings_of(tmp_path))
    assert report.clean
    assert {name: count for name, count in report.rows.items() if count} == {}
