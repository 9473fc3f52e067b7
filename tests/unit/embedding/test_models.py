"""Where the model is looked for, what the error says of each place, and what the fingerprint covers."""

import dataclasses
import json

import pytest

from semcache.embedding import models
from semcache.embedding.models import CarriedModel, ModelFiles, find_model, sha256_of
from semcache.errors import ModelMissingError, StartError

MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
MODULES = ["Transformer", "Pooling", "Normalize"]


def write_model(folder, *, modules=MODULES, pooling=MEAN, weights=b"weights", **files):
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 8, "max_position_embeddings": 64}))
    listed = [{"type": f"sentence_transformers.models.{n}", "path": f"{i}_{n}"} for i, n in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "model.safetensors").write_bytes(weights)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


@pytest.fixture
def no_hub(monkeypatch):
    calls = []

    def refuse(name, *, local_files_only, **_):
        calls.append((name, local_files_only))
        raise OSError("no network\nand a second line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    return calls


def test_a_local_folder_is_read(tmp_path, no_hub):
    files = find_model(str(write_model(tmp_path / "model")))
    assert (files.source, files.pooling, files.max_tokens, files.dimension) == ("local path", "mean", 64, 8)
    assert files.weights_sha256 == sha256_of([files.path / "model.safetensors"])
    assert no_hub == []


def test_the_window_is_the_sentence_models_own(tmp_path):
    folder = write_model(tmp_path / "model", sentence_bert_config={"max_seq_length": 32, "do_lower_case": True})
    files = find_model(str(folder))
    assert files.max_tokens == 32
    assert files.lower_case


def test_cls_pooling_and_a_default_prompt_are_read(tmp_path):
    folder = write_model(
        tmp_path / "model",
        modules=MODULES[:2],
        pooling={"pooling_mode_cls_token": True},
        config_sentence_transformers={"prompts": {"query": "query: "}, "default_prompt_name": "query"},
    )
    files = find_model(str(folder))
    assert files.pooling == "cls"
    assert files.prefix == "query: "


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"modules": ["Transformer", "Pooling", "Dense"]}, "Dense"),
        ({"modules": ["StaticEmbedding"]}, "StaticEmbedding"),
        ({"pooling": {"pooling_mode_max_tokens": True}}, "max_tokens"),
        ({"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}}, "cls_token"),
        ({"pooling": {"pooling_mode": "lasttoken"}}, "lasttoken"),
    ],
)
def test_a_model_that_can_not_be_run_is_refused_by_name(tmp_path, change, names):
    with pytest.raises(StartError, match=names):
        find_model(str(write_model(tmp_path / "model", **change)))


def test_a_broken_description_is_one_sentence(tmp_path):
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text("{")
    with pytest.raises(StartError, match="can't be understood"):
        find_model(str(folder))


def test_a_package_is_used_only_with_the_known_weights(tmp_path, monkeypatch, no_hub):
    folder = write_model(tmp_path / "carrier" / "model", weights=b"known")
    (tmp_path / "carrier" / "__init__.py").write_text("raise AssertionError('the package is not imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = sha256_of([folder / "model.safetensors"])
    monkeypatch.setattr(models, "PACKAGES", {"some/model": CarriedModel("carrier", "model", known)})
    files = find_model("some/model")
    assert files.path == folder
    assert files.source.startswith("package carrier")

    (folder / "model.safetensors").write_bytes(b"tampered")
    with pytest.raises(ModelMissingError, match=f"not the known {known[:12]}"):
        find_model("some/model")


def test_the_error_names_all_three_places(no_hub):
    with pytest.raises(ModelMissingError) as missing:
        find_model("nobody/nothing")
    message = str(missing.value)
    assert "(1) local path: there is no folder 'nobody/nothing'" in message
    assert "(2) installed package: no known package carries 'nobody/nothing'" in message
    assert "(3) hub: OSError: no network" in message
    assert "second line" not in message
    assert no_hub == [("nobody/nothing", True), ("nobody/nothing", False)]


def test_a_local_folder_without_weights_is_named(tmp_path, no_hub):
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelMissingError, match=r"has no \.safetensors file"):
        find_model(str(folder))


def test_the_hubs_cache_is_tried_before_the_hub(tmp_path, monkeypatch):
    folder = write_model(tmp_path / "snapshot")
    calls = []

    def snapshot(_name, *, local_files_only, **_):
        calls.append(local_files_only)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_model("nobody/cached").source == "hub cache"
    assert calls == [True]


def test_the_fingerprint_depends_on_all_that_changes_a_vector_and_on_nothing_else(tmp_path):
    files = ModelFiles("a", tmp_path, "local path", "f00", "mean", 256, 384)
    changed = [
        dataclasses.replace(files, weights_sha256="f01"),
        dataclasses.replace(files, pooling="cls"),
        dataclasses.replace(files, max_tokens=128),
        dataclasses.replace(files, lower_case=True),
        dataclasses.replace(files, prefix="query: "),
    ]
    assert len({files.fingerprint, *(other.fingerprint for other in changed)}) == 6
    assert dataclasses.replace(files, name="b", source="hub", path=tmp_path / "x").fingerprint == files.fingerprint
