"""The file of an adapter: what is written is read again, and each kind of bad file is named in one sentence."""

import json

import numpy as np
import pytest
import safetensors.numpy

from semcache.embedding import adapter as module
from semcache.embedding.adapter import FORMAT, LayerChange, read_adapter, rounded
from semcache.errors import StartError
from tests.support.adapters import random_change, write_adapter

BASE = "ab" * 32
LAYER = "encoder.layer.0.attention.self.query"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "small.safetensors"


def write(path, layers=None, **options):
    layers = layers if layers is not None else {LAYER: random_change(out=6, into=8, rank=2)}
    return write_adapter(path, layers, **{"name": "small", "base_sha256": BASE, **options})


def contents(path):
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"], dict(safetensors.numpy.load(data))


def rewrite(path, *, metadata=None, tensors=None, drop=()):
    """Writes the file again with other metadata or tensors, whose SHA-256 fits unless `metadata` says another."""
    before, arrays = contents(path)
    arrays = {name: array for name, array in {**arrays, **(tensors or {})}.items() if name not in drop}
    after = {**before, "sha256": module._sha256(arrays), **(metadata or {})}
    path.write_bytes(safetensors.numpy.save(arrays, {key: value for key, value in after.items() if value is not None}))


def test_what_is_written_is_read_again(path):
    written = write(path, recommended_threshold=0.91)
    read = read_adapter(path)
    assert (read.name, read.base_sha256, read.rank, read.recommended_threshold) == ("small", BASE, 2, 0.91)
    assert read.sha256 == written.sha256
    assert set(read.layers) == {LAYER}
    assert np.array_equal(read.layers[LAYER].matrix(), written.layers[LAYER].matrix())
    assert contents(path)[0]["format"] == FORMAT
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_change_is_the_product_of_the_scaled_matrices():
    change = LayerChange(
        down=np.array([[1, -2, 3]], dtype=np.int8),
        down_scale=np.array([0.5], dtype=np.float32),
        up=np.array([[4], [-1]], dtype=np.int8),
        up_scale=np.array([0.25], dtype=np.float32),
    )
    assert change.shape == (2, 3)
    assert change.matrix().tolist() == [[0.5, -1.0, 1.5], [-0.125, 0.25, -0.375]]
    assert change.matrix().dtype == np.float32


def test_scales_in_float16_are_read_too(path):
    write(path)
    scale = np.array([0.5, 0.25], dtype=np.float16)
    rewrite(path, tensors={f"{LAYER}.up_scale": scale})
    assert read_adapter(path).layers[LAYER].up_scale.tolist() == [0.5, 0.25]


def test_rows_of_zeros_and_of_tiny_numbers_become_zeros():
    change = rounded(np.array([[0.0, 0.0], [1e-44, 0.0]]), np.array([[1.0, 1.0]]))
    assert change.matrix().tolist() == [[0.0, 0.0]]


def test_equal_tensors_have_an_equal_hash_whatever_their_name_and_order(path, tmp_path):
    layers = {"b": random_change(seed=1), "a": random_change(seed=2)}
    first = write(path, layers)
    second = write(tmp_path / "other.safetensors", dict(reversed(layers.items())), name="other")
    assert first.sha256 == second.sha256
    assert write(path, {"a": random_change(seed=3)}).sha256 != first.sha256


def test_equal_bytes_under_another_name_or_in_another_shape_or_type_have_another_hash(path):
    change = random_change(out=6, into=8, rank=2)
    named = {"a": change}, {"b": change}
    shaped = np.zeros((2, 8), np.int8), np.zeros((4, 4), np.int8), np.zeros((2, 4), np.float16)
    hashes = [write(path, layers).sha256 for layers in named] + [module._sha256({"a.down": one}) for one in shaped]
    assert len({tensor.tobytes() for tensor in shaped}) == 1
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("layers", "options", "names"),
    [
        ({}, {}, "none"),
        ({"a": random_change(rank=2), "b": random_change(rank=3)}, {}, r"\[2, 3\]"),
        (None, {"name": ""}, "lacks name"),
        (None, {"recommended_threshold": 1.5}, "no cosine"),
        (None, {"recommended_threshold": float("nan")}, "no cosine"),
        ({LAYER: rounded(np.full((1, 2), 3e38), np.full((2, 1), 3e38))}, {}, "aren't finite"),
    ],
)
def test_what_is_no_adapter_is_not_written(path, layers, options, names):
    with pytest.raises(ValueError, match=names):
        write(path, layers, **options)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (np.ones((2, 3)), np.ones((4, 3))),
        (np.ones(3), np.ones((4, 1))),
        (np.ones((0, 3)), np.ones((4, 0))),
        (np.array([[np.nan]]), np.ones((1, 1))),
        (np.array([[1e300]]), np.ones((1, 1))),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_matrices_without_a_product_or_with_other_than_numbers_are_refused(down, up):
    with pytest.raises(ValueError, match=r"no product|isn't finite"):
        rounded(down, up)


def test_a_write_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    write(path)
    before = path.read_bytes()

    def refuse(*_):
        raise OSError("no space")

    monkeypatch.setattr("semcache.whole_files.os.fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        write(path, {LAYER: random_change(seed=9)})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def refusal(path):
    with pytest.raises(StartError) as refused:
        read_adapter(path)
    assert str(path) in refused.value.message
    assert "embedding.adapter" in refused.value.hint
    return refused.value.message


def test_a_missing_file_is_named(path):
    assert "No such file" in refusal(path)


def test_a_folder_is_no_adapter(tmp_path):
    assert "Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(path, kept):
    write(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated or no safetensors file" in refusal(path)


def test_another_kind_of_file_is_refused(path):
    path.write_bytes(b'{"this": "is JSON"}' * 20)
    assert "truncated or no safetensors file" in refusal(path)


def test_a_file_too_large_for_an_adapter_is_not_read(path, monkeypatch):
    write(path)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert "which no adapter has" in refusal(path)


def test_every_altered_byte_of_the_tensors_is_noticed(path):
    write(path)
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    for at in range(begin, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert "is damaged" in refusal(path)


def test_safetensors_of_a_model_are_no_adapter(path):
    path.write_bytes(safetensors.numpy.save({"a.weight": np.ones((2, 2), dtype=np.float32)}))
    assert "has the format None" in refusal(path)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"metadata": {"format": "semcache-adapter-2"}}, "'semcache-adapter-2'"),
        ({"metadata": {"base_sha256": None}}, "lacks base_sha256"),
        ({"metadata": {"rank": None, "name": ""}}, "lacks name and rank"),
        ({"metadata": {"sha256": "00"}}, "is damaged"),
        ({"metadata": {"rank": "3"}}, "rank is 3"),
        ({"metadata": {"rank": "two"}}, "rank is two"),
        ({"metadata": {"recommended_threshold": "high"}}, "'high', which is no cosine"),
        ({"metadata": {"recommended_threshold": "nan"}}, "no cosine"),
        ({"drop": {f"{LAYER}.{part}" for part in ("down", "down_scale", "up", "up_scale")}}, "changes no layer"),
        ({"drop": {f"{LAYER}.up_scale"}}, "needs down, down_scale, up, up_scale"),
        ({"tensors": {f"{LAYER}.bias": np.ones(3, dtype=np.int8)}}, "bias"),
        ({"tensors": {"alone": np.ones(3, dtype=np.int8)}}, "alone"),
        ({"tensors": {f"{LAYER}.up": np.ones((6, 2), dtype=np.float32)}}, "other types"),
        ({"tensors": {f"{LAYER}.up_scale": np.ones(2, dtype=np.float64)}}, "other types"),
        ({"tensors": {f"{LAYER}.up": np.ones((6, 3), dtype=np.int8)}}, r"\(6, 3\)"),
        ({"tensors": {f"{LAYER}.up": np.ones((6, 2, 1), dtype=np.int8)}}, "where its rank is 2"),
        ({"tensors": {f"{LAYER}.up": np.ones((0, 2), dtype=np.int8)}}, "where its rank is 2"),
        ({"tensors": {f"{LAYER}.down_scale": np.ones(3, dtype=np.float32)}}, "scales of"),
        ({"tensors": {f"{LAYER}.down_scale": np.full(2, np.inf, dtype=np.float32)}}, "aren't finite"),
        ({"tensors": {f"{LAYER}.up_scale": np.full(2, np.nan, dtype=np.float16)}}, "aren't finite"),
        ({"tensors": {f"{LAYER}.up_scale": np.full(2, 3e38, dtype=np.float32)}}, "aren't finite"),
    ],
)
def test_a_file_that_makes_no_adapter_is_refused_by_what_is_wrong(path, change, names):
    write(path, {LAYER: rounded(np.full((2, 8), 2.0), np.full((6, 2), 2.0))})
    rewrite(path, **change)
    message = refusal(path)
    assert names.replace("\\", "") in message


def test_an_adapter_fits_the_weights_that_it_was_made_for(path):
    adapter = write(path)
    adapter.check_fits(BASE, {LAYER: (6, 8), "other": (3, 3)})
    for base, shapes, names in (
        ("cd" * 32, {LAYER: (6, 8)}, "made for weights with SHA-256 abababababab"),
        (BASE, {"other": (6, 8)}, "which the embedding model lacks"),
        (BASE, {LAYER: (8, 6)}, r"by a matrix of \(6, 8\), and its weight has the shape \(8, 6\)"),
    ):
        with pytest.raises(StartError, match=names) as refused:
            adapter.check_fits(base, shapes)
        assert "embedding.adapter" in refused.value.hint
