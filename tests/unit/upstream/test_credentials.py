"""API keys: where they come from, when they are read again, and that they are never shown."""

import os

import pytest

from semcache.errors import SettingsError
from semcache.settings import Target
from semcache.upstream.credentials import ApiKeySource


def source(environ=None, **fields):
    # Not validated: validation would read the process's environment.
    return ApiKeySource(
        Target.model_construct(**{"name": "t", "api_key_env": "", "api_key_file": None, **fields}), environ or {}
    )


def test_no_key():
    assert source().current() == ""


def test_a_key_from_the_environment():
    assert source({"K": " sk-1\n"}, api_key_env="K").current() == "sk-1"


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    key = source(api_key_file=path)
    assert key.current() == "sk-1"
    path.write_text("sk-22\n")
    assert key.current() == "sk-22"
    # The new key is as long, so that only the file's time changes.
    path.write_text("sk-33\n")
    os.utime(path, ns=(1, 1))
    assert key.current() == "sk-33"


def test_a_file_that_vanishes_or_spoils_leaves_the_last_good_key(tmp_path):
    path = tmp_path / "key"
    path.write_text("sk-1")
    key = source(api_key_file=path)
    path.unlink()
    assert key.current() == "sk-1"
    path.write_text("sk-2\nsk-3")
    assert key.current() == "sk-1"
    path.write_text("sk-2")
    assert key.current() == "sk-2"


@pytest.mark.parametrize("bad", ["two words", "line\r\nbreak: 1", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_without_showing_it(bad, tmp_path):
    (tmp_path / "key").write_text(bad)
    for fields in ({"api_key_env": "K"}, {"api_key_file": tmp_path / "key"}):
        with pytest.raises(SettingsError) as caught:
            source({"K": bad}, **fields)
        assert bad not in str(caught.value)


def test_a_missing_file_is_a_problem_of_the_settings(tmp_path):
    with pytest.raises(SettingsError, match="can't be read"):
        source(api_key_file=tmp_path / "none")


def test_a_key_isnt_in_its_sources_words():
    assert "sk-1" not in repr(source({"K": "sk-1"}, api_key_env="K"))
