"""The real model: its backends agree, a damaged conversion is replaced, and a start sends nothing over the network."""

import asyncio
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import structlog

pytest.importorskip("torch")

import torch

from semcache.embedding import adapting, factory, open_embedder
from semcache.embedding.cpu import int8_support
from semcache.embedding.models import ModelFiles, find_model
from semcache.embedding.network import SentenceNetwork
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings
from tests.support.adapters import BASE_SHA256, LAYERS, random_change, write_adapter, write_random_adapter
from tests.support.int8 import require_int8

pytestmark = pytest.mark.model
ROOT = Path(__file__).resolve().parents[2]

NO_EGRESS = """
import asyncio, socket, sys

def refuse(*args, **_):
    print("EGRESS", args, file=sys.stderr)
    raise SystemExit(3)

class Refusing(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse("connect", address)
        return super().connect(address)
    connect_ex = connect

    def sendto(self, *args):
        refuse("sendto", args[-1])

socket.socket = Refusing
socket.create_connection = refuse
socket.getaddrinfo = refuse
socket.gethostbyname = refuse

from pathlib import Path
from semcache.embedding import open_embedder
from semcache.settings import EmbeddingSettings

async def main():
    settings = EmbeddingSettings(backend=sys.argv[1], device="cpu", cache_dir=Path(sys.argv[2]), adapter=sys.argv[3])
    embedder = open_embedder(settings)
    await embedder.embed(["does anybody hear this?"])
    await embedder.close()

asyncio.run(main())
heavy = {"torch", "transformers", "sentence_transformers", "openvino_telemetry.main"}
print("heavy", sorted(heavy & sys.modules.keys()))
"""


def start(backend: str, home: Path, adapter: str = "none") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", NO_EGRESS, backend, str(home / "cache"), adapter],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**env, "HOME": str(home), "PYTHONPATH": str(ROOT)},
    )


def test_nothing_leaves_the_machine_and_a_second_start_is_light(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed (it comes with the extra `cpu`)")
    first = start("openvino", tmp_path)
    assert first.returncode == 0, first.stderr
    second = start("openvino", tmp_path)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1] == "heavy []"
    assert not (tmp_path / "intel").exists()  # where OpenVINO's telemetry keeps its identity

    (network,) = (tmp_path / "cache").glob("*/network.bin")
    whole = hashlib.sha256(network.read_bytes()).digest()
    with network.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damaged")
    third = start("openvino", tmp_path)
    assert third.returncode == 0, third.stderr
    assert "the kept conversion is damaged" in third.stdout + third.stderr
    assert hashlib.sha256(network.read_bytes()).digest() == whole
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_second_start_with_an_adapter_is_light_too(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed (it comes with the extra `cpu`)")
    path = tmp_path / "small.safetensors"
    write_random_adapter(path)
    first = start("openvino", tmp_path, str(path))
    assert first.returncode == 0, first.stderr
    assert "embedding.model_converting" in first.stdout + first.stderr
    again = start("openvino", tmp_path, str(path))
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "heavy []"
    assert "embedding.model_converting" not in again.stdout + again.stderr


def test_torch_sends_nothing_either(tmp_path):
    done = start("torch", tmp_path)
    assert done.returncode == 0, done.stderr


PAIRS = [
    ("How do I reset my password?", "How can I reset my password"),
    ("What's the weather like in Paris today?", "how is the weather in paris today"),
    ("Convert 5 miles to kilometres", "5 miles in kilometres"),
    ("cancel my subscription", "please cancel my subscription"),
]


MIN_COSINE = {"fp32": 0.9995, "bf16": 0.9995, "int8": 0.998}
"""Lowest cosine of a vector to the reference's, by precision."""


async def vectors_of(**fields):
    """Fingerprint, precision and vectors of the pairs' texts by each backend, with further settings for all."""
    settings = {
        "reference": EmbeddingSettings(backend="torch", device="cpu", precision="fp32", **fields),
        "torch-bf16": EmbeddingSettings(backend="torch", device="cpu", precision="bf16", **fields),
        "auto": EmbeddingSettings(device="cpu", **fields),
    }
    if find_spec("openvino") is not None:
        settings["fp32"] = EmbeddingSettings(backend="openvino", device="cpu", precision="fp32", **fields)
    if int8_support() and find_spec("openvino") is not None:
        settings["int8"] = EmbeddingSettings(device="cpu", precision="int8", **fields)
    vectors = {}
    with structlog.testing.capture_logs():
        for name, chosen in settings.items():
            embedder = open_embedder(chosen)
            texts = [text for pair in PAIRS for text in pair]
            vectors[name] = (embedder.fingerprint, embedder.stats().precision, await embedder.embed(texts))
            await embedder.close()
    return vectors


@pytest.fixture
async def vectors_by_backend():
    return await vectors_of(adapter="none")


def assert_agree(vectors_by_backend):
    fingerprint, _, reference = vectors_by_backend["reference"]
    for other, precision, vectors in vectors_by_backend.values():
        assert other == fingerprint
        assert (reference * vectors).sum(axis=1).min() > MIN_COSINE[precision], precision


async def test_backends_and_precisions_agree_and_share_a_fingerprint(vectors_by_backend):
    assert_agree(vectors_by_backend)


async def test_they_agree_with_an_adapter_too_which_moves_every_vector(vectors_by_backend, tmp_path):
    write_random_adapter(tmp_path / "small.safetensors")
    adapted = await vectors_of(adapter=str(tmp_path / "small.safetensors"), cache_dir=tmp_path / "cache")
    assert_agree(adapted)
    fingerprint, _, reference = adapted["reference"]
    fingerprint_before, _, before = vectors_by_backend["reference"]
    assert fingerprint != fingerprint_before
    assert (reference * before).sum(axis=1).max() < 0.99


def test_an_adapter_is_added_in_float32_before_the_precision_of_the_network(tmp_path):
    adapter = write_random_adapter(tmp_path / "small.safetensors")
    files = find_model(EmbeddingSettings().model)
    plain = SentenceNetwork(files, torch.float32).state_dict()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        merged = SentenceNetwork(replace(files, adapter=adapter), dtype).state_dict()
        for name, weight in plain.items():
            change = adapter.layers.get(name.removeprefix("transformer.").removesuffix(".weight"))
            wanted = weight if change is None else weight + torch.from_numpy(change.matrix())
            assert torch.equal(merged[name], wanted.to(dtype) if weight.is_floating_point() else weight), name


@pytest.mark.parametrize(
    ("layer", "change"),
    [("encoder.layer.9.output.dense", None), ("encoder.layer.0.output.LayerNorm", None), (LAYERS[0], (8, 384))],
)
def test_a_network_refuses_an_adapter_for_a_layer_that_it_has_not(tmp_path, layer, change):
    out, into = change or (384, 384)
    path = tmp_path / "wrong.safetensors"
    adapter = write_adapter(path, {layer: random_change(out=out, into=into)}, name="wrong", base_sha256=BASE_SHA256)
    files = replace(find_model(EmbeddingSettings().model), adapter=adapter)
    with pytest.raises(StartError, match="no such linear layer"):
        SentenceNetwork(files, torch.float32)


def test_the_log_and_the_stats_name_the_adapter(tmp_path):
    write_random_adapter(tmp_path / "small.safetensors", name="minilm-questions")
    for adapter, name in ((str(tmp_path / "small.safetensors"), "minilm-questions"), ("none", "")):
        with structlog.testing.capture_logs() as logs:
            embedder = open_embedder(EmbeddingSettings(backend="torch", device="cpu", adapter=adapter))
        asyncio.run(embedder.close())
        (line,) = [entry for entry in logs if entry["event"] == "embedding.opened"]
        assert (line["adapter"], embedder.stats().adapter) == (name or "none", name)


def test_a_named_adapter_that_can_not_be_used_ends_the_start(tmp_path):
    with pytest.raises(StartError, match="No such file"):
        open_embedder(EmbeddingSettings(device="cpu", adapter=str(tmp_path / "gone.safetensors")))


def test_a_damaged_packaged_adapter_leaves_the_server_without_one(tmp_path, monkeypatch):
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(
        factory, "with_adapter", lambda setting, files: adapting.with_adapter(setting, files, packaged=tmp_path)
    )
    embedder = open_embedder(EmbeddingSettings(device="cpu"))
    asyncio.run(embedder.close())
    assert "damaged.safetensors" in embedder.stats().adapter_problem
    assert embedder.fingerprint == find_model(EmbeddingSettings().model).fingerprint


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_packaged_adapter_that_the_network_refuses_leaves_the_server_without_one(tmp_path, monkeypatch, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    layer = "embeddings.position_embeddings"  # Its weight has this shape, but it isn't linear.
    path = tmp_path / "odd.safetensors"
    write_adapter(path, {layer: random_change(out=512)}, name="odd", base_sha256=BASE_SHA256)
    monkeypatch.setattr(
        factory, "with_adapter", lambda setting, files: adapting.with_adapter(setting, files, packaged=tmp_path)
    )
    embedder = open_embedder(EmbeddingSettings(backend=backend, device="cpu", cache_dir=tmp_path / "cache"))
    asyncio.run(embedder.close())
    assert "no such linear layer" in embedder.stats().adapter_problem
    assert embedder.fingerprint == find_model(EmbeddingSettings().model).fingerprint


@pytest.mark.parametrize("is_adapted", [False, True])
def test_what_a_rotary_model_computes_in_float32_stays_so_in_half_precision(tmp_path, is_adapted):
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaModel(config).save_pretrained(tmp_path)
    adapter = write_adapter(
        tmp_path / "a.adapter",
        {"layers.0.self_attn.q_proj": random_change(out=16, into=16)},
        name="a",
        base_sha256="00",
    )
    files = ModelFiles("tiny", tmp_path, "here", "00", "mean", 16, 16, adapter=adapter if is_adapted else None)
    network = SentenceNetwork(files, torch.bfloat16)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    frequencies = [buffer.dtype for name, buffer in network.named_buffers() if name.endswith(".inv_freq")]
    assert frequencies == [torch.float32]


def test_a_first_start_in_int8_keeps_the_float32_conversion_and_a_second_quantises_it(tmp_path):
    require_int8()
    texts = [text for pair in PAIRS for text in pair]

    async def vectors(precision):
        embedder = open_embedder(EmbeddingSettings(device="cpu", precision=precision, cache_dir=tmp_path))
        try:
            return await embedder.embed(texts)
        finally:
            await embedder.close()

    first = asyncio.run(vectors("int8"))
    (network,) = tmp_path.glob("*/network.bin")
    kept = network.read_bytes()
    exact = asyncio.run(vectors("fp32"))
    second = asyncio.run(vectors("int8"))

    assert network.read_bytes() == kept
    assert len(kept) > 80e6  # four bytes a weight
    assert (first * second).sum(axis=1).min() > 0.999  # the last bits differ, and may tip a rounding
    for vectors_in_int8 in (first, second):
        assert 0.998 < (vectors_in_int8 * exact).sum(axis=1).min() < 0.99999


def test_the_log_says_which_precision_runs_and_why():
    with structlog.testing.capture_logs() as logs:
        asyncio.run(open_embedder(EmbeddingSettings(device="cpu")).close())
    (line,) = [entry for entry in logs if entry["event"] == "embedding.opened"]
    assert line["precision"] in MIN_COSINE
    assert "precision: the CPU has" in line["why"]
    if int8_support() and line["backend"] == "openvino" and "amx" not in line["why"]:
        assert "the lowest cosine of int8 to fp32 is 0.99" in line["why"]
        assert " ms a batch" in line["why"]


async def test_real_rewordings_are_near_and_other_questions_far(vectors_by_backend):
    _, _, vectors = vectors_by_backend["auto"]
    similarities = vectors @ vectors.T
    for pair in range(len(PAIRS)):
        mine = similarities[2 * pair, 2 * pair + 1]
        others = np.delete(similarities[2 * pair], [2 * pair, 2 * pair + 1])
        assert mine > 0.8
        assert others.max() < 0.6
