"""Which adapter the settings choose for a model, and what a bad one does at the start."""

import hashlib

import numpy as np
import pytest
import safetensors.numpy
from structlog.testing import capture_logs

from semcache.embedding import adapting
from semcache.embedding.adapting import with_adapter
from semcache.embedding.models import ModelFiles
from semcache.errors import StartError
from tests.support.adapters import random_change, write_adapter

LAYER = "encoder.layer.0.attention.self.query"


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    weights = {
        f"{LAYER}.weight": np.zeros((6, 8), np.float32),
        f"{LAYER}.bias": np.zeros(6, np.float32),
        "pooler.dense.weight": np.zeros((4, 4), np.float32),
    }
    data = safetensors.numpy.save(weights)
    (folder / "model.safetensors").write_bytes(data)
    return ModelFiles("some/model", folder, "local path", hashlib.sha256(data).hexdigest(), "mean", 64, 8)


@pytest.fixture
def packaged(tmp_path):
    folder = tmp_path / "packaged"
    folder.mkdir()
    return folder


def write(path, files, *, base="", layer=LAYER, out=6, seed=1):
    change = random_change(out=out, into=8, rank=2, seed=seed)
    return write_adapter(path, {layer: change}, name=path.stem, base_sha256=base or files.weights_sha256)


def test_the_shapes_of_weights_are_read_from_the_headers(files):
    assert files.weight_shapes() == {LAYER: (6, 8), "pooler.dense": (4, 4)}


def test_a_part_with_which_all_names_begin_may_be_left_out(files):
    weights = {f"bert.{LAYER}.weight": np.zeros((6, 8)), "bert.pooler.dense.weight": np.zeros((4, 4))}
    (files.path / "model.safetensors").write_bytes(safetensors.numpy.save(weights))
    shapes = {LAYER: (6, 8), "pooler.dense": (4, 4)}
    assert files.weight_shapes() == {**shapes, **{f"bert.{name}": shape for name, shape in shapes.items()}}


def test_weights_that_can_not_be_read_are_one_sentence(files):
    (files.path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(StartError, match=r"weights of the embedding model at .* can't be read"):
        files.weight_shapes()


def test_none_takes_none_though_one_is_packaged(files, packaged):
    write(packaged / "a.safetensors", files)
    adapted = with_adapter("none", files, packaged)
    assert (adapted.files, adapted.problem) == (files, "")


def test_auto_takes_the_packaged_one_for_the_models_weights(files, packaged):
    write(packaged / "a.safetensors", files, base="00" * 32)
    mine = write(packaged / "b.safetensors", files)
    write(packaged / "c.safetensors", files, seed=2)
    adapted = with_adapter("auto", files, packaged)
    assert adapted.files.adapter is not None
    assert (adapted.files.adapter.name, adapted.files.adapter.sha256) == ("b", mine.sha256)
    assert adapted.problem == ""


@pytest.mark.parametrize("exists", [True, False])
def test_auto_without_a_packaged_one_is_none(files, packaged, exists):
    if not exists:
        packaged.rmdir()
    with capture_logs() as logs:
        adapted = with_adapter("auto", files, packaged)
    assert (adapted.files, adapted.problem, logs) == (files, "", [])


def test_what_ships_can_be_read():
    for path in adapting.PACKAGED.glob("*.safetensors"):
        assert path.stat().st_size <= 1_500_000
        adapting.read_adapter(path)


def test_a_damaged_packaged_one_is_left_out_and_told(files, packaged):
    path = packaged / "a.safetensors"
    write(path, files)
    path.write_bytes(path.read_bytes()[:-3])
    with capture_logs() as logs:
        adapted = with_adapter("auto", files, packaged)
    assert adapted.files.adapter is None
    assert str(path) in adapted.problem
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("embedding.adapter_unusable", "error")
    assert line["error"] == adapted.problem


def test_a_packaged_one_that_does_not_fit_its_own_base_is_left_out_and_told(files, packaged):
    write(packaged / "a.safetensors", files, layer="encoder.layer.99")
    assert "which the embedding model lacks" in with_adapter("auto", files, packaged).problem


def test_a_sound_packaged_one_is_taken_beside_a_damaged_one(files, packaged):
    (packaged / "a.safetensors").write_bytes(b"damaged")
    write(packaged / "b.safetensors", files)
    with capture_logs() as logs:
        adapted = with_adapter("auto", files, packaged)
    assert adapted.files.adapter is not None
    assert (adapted.files.adapter.name, adapted.problem, logs) == ("b", "", [])


def test_a_path_is_taken_whatever_is_packaged(files, packaged, tmp_path):
    write(packaged / "a.safetensors", files)
    write(tmp_path / "own.safetensors", files, seed=3)
    adapted = with_adapter(str(tmp_path / "own.safetensors"), files, packaged)
    assert adapted.files.adapter is not None
    assert adapted.files.adapter.name == "own"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"base": "00" * 32}, "made for weights with SHA-256 000000000000"),
        ({"layer": "encoder.layer.99"}, "'encoder.layer.99', which the embedding model lacks"),
        ({"out": 7}, "its weight has the shape"),
    ],
)
def test_a_path_that_does_not_fit_ends_the_start(files, packaged, tmp_path, options, names):
    path = tmp_path / "own.safetensors"
    write(path, files, **options)
    with pytest.raises(StartError, match=names):
        with_adapter(str(path), files, packaged)


def test_a_path_that_is_missing_ends_the_start(files, packaged, tmp_path):
    with pytest.raises(StartError, match="No such file") as refused:
        with_adapter(str(tmp_path / "gone.safetensors"), files, packaged)
    assert "Set embedding.adapter" in refused.value.hint


def test_the_fingerprint_names_the_adapter_and_without_one_stays_what_it_was(files, tmp_path):
    first = write(tmp_path / "a.safetensors", files)
    second = write(tmp_path / "b.safetensors", files, seed=2)
    names = {
        with_adapter(setting, files).files.fingerprint
        for setting in ("none", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    }
    assert len(names) == 3
    assert first.sha256 != second.sha256
    fixed = ModelFiles("a", tmp_path, "local path", "f00", "mean", 256, 384)
    assert fixed.fingerprint == "7329160573e017564fbb3ea9880ee19d19af8e8b5a4200160852294e12ce3ce1"
