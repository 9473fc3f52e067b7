"""Where master keys come from, and what is said when there is none."""

import base64
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from semcache.encryption import MasterKey, master_keys
from semcache.errors import StoreUnusableError
from semcache.settings import EncryptionSettings, MasterKeySource

SECRET = bytes(range(224, 256))


def of_file(path: Path, text: str) -> MasterKeySource:
    path.write_bytes(text.encode())
    return MasterKeySource(file=path)


def test_encryption_is_off_without_a_source():
    assert not EncryptionSettings().enabled
    assert master_keys(EncryptionSettings()) == []


@pytest.mark.parametrize(
    "text",
    [
        SECRET.hex(),
        SECRET.hex().upper(),
        base64.b64encode(SECRET).decode(),
        base64.b64encode(SECRET).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET).decode(),
        f"\n {SECRET.hex()} \n",
    ],
)
def test_a_key_is_hex_or_base64_and_comes_from_each_source(tmp_path, monkeypatch, text):
    monkeypatch.setenv("THE_KEY", text)
    sources = (
        of_file(tmp_path / "key", text),
        MasterKeySource(environment="THE_KEY"),
        MasterKeySource(command=(sys.executable, "-c", f"print({text!r})")),
    )
    keys = master_keys(EncryptionSettings(key=sources[0], previous_keys=sources[1:]))
    assert {key.key_id for key in keys} == {MasterKey(SECRET).key_id}
    assert SECRET.hex() not in repr(keys)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (MasterKeySource(file=Path("/nowhere/key")), "the file /nowhere/key can't be read (No such file or directory)"),
        (MasterKeySource(environment="NO_SUCH_VARIABLE"), "the environment variable NO_SUCH_VARIABLE isn't set"),
        (MasterKeySource(command=("/nowhere/program",)), "the command /nowhere/program can't be run"),
        (MasterKeySource(command=("false",)), "the command false ended with exit code 1"),
        (MasterKeySource(command=("true",)), "the command true holds no master key"),
    ],
)
def test_a_source_without_a_key_is_named(source, what):
    with pytest.raises(StoreUnusableError) as caught:
        master_keys(EncryptionSettings(key=source))
    assert what in caught.value.message
    assert "openssl rand" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "secret", SECRET.hex()[:-2], "zz" * 32, base64.b64encode(SECRET[1:]).decode(), "ü"]
)
def test_a_text_that_is_no_key_is_refused(tmp_path, text):
    with pytest.raises(StoreUnusableError, match="holds no master key"):
        master_keys(EncryptionSettings(key=of_file(tmp_path / "key", text)))


@pytest.mark.parametrize(
    "fields",
    [
        {"key": {"file": "key", "environment": "KEY"}},
        {"key": {"file": "key", "command": ["print-key"]}},
        {"previous_keys": [{"file": "key"}]},
        {"key": {"file": "key"}, "previous_keys": [{}]},
    ],
)
def test_each_key_has_one_source(fields):
    with pytest.raises(ValidationError):
        EncryptionSettings(**fields)


def test_what_a_key_encrypts_is_bound_to_what_it_is_about():
    key = MasterKey(SECRET)
    encrypted = key.encrypt(b"content", b"about")
    assert key.decrypt(encrypted, b"about") == b"content"
    assert key.encrypt(b"content", b"about") != encrypted
    with pytest.raises(ValueError):
        key.decrypt(encrypted, b"about something else")
    with pytest.raises(ValueError):
        MasterKey(bytes(32)).decrypt(encrypted, b"about")
