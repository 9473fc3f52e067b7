"""The promises of every embedder, over the fake and each real backend."""

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from semcache.errors import ShuttingDownError
from semcache.ports import Embedder
from semcache.settings import EmbeddingSettings
from semcache.testing.embedder import HashingEmbedder
from tests.support.adapters import write_random_adapter
from tests.support.int8 import require_int8

ADAPTED = " with an adapter"
REAL = {
    "openvino-auto": EmbeddingSettings(backend="openvino", device="cpu"),
    "openvino-fp32": EmbeddingSettings(backend="openvino", device="cpu", precision="fp32"),
    "openvino-int8": EmbeddingSettings(backend="openvino", device="cpu", precision="int8"),
    "torch-fp32": EmbeddingSettings(backend="torch", device="cpu", precision="fp32"),
    "torch-bf16": EmbeddingSettings(backend="torch", device="cpu", precision="bf16"),
    "torch-cuda": EmbeddingSettings(backend="torch", device="cuda"),
}


def open_named(name: str) -> Embedder:
    if name == "hashing":
        return HashingEmbedder()
    if name.startswith("openvino") and find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed (it comes with the extra `cpu`)")
    from semcache.embedding import open_embedder

    if name.removesuffix(ADAPTED) == "openvino-int8":
        require_int8()
    if name.startswith("torch-cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")
    if not name.endswith(ADAPTED):
        return open_embedder(REAL[name])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "small.safetensors"
        write_random_adapter(path)
        settings = REAL[name.removesuffix(ADAPTED)]
        return open_embedder(settings.model_copy(update={"adapter": str(path), "cache_dir": Path(folder) / "cache"}))


def cases() -> list[object]:
    marks = {"torch-cuda": [pytest.mark.model, pytest.mark.gpu]}
    names = [*REAL, *(f"{name}{ADAPTED}" for name in REAL if name not in {"openvino-auto", "torch-fp32"})]
    return [
        "hashing",
        *(pytest.param(name, marks=marks.get(name.removesuffix(ADAPTED), [pytest.mark.model])) for name in names),
    ]


@pytest.fixture(scope="module", params=cases())
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    opened = open_named(request.param)
    yield opened
    asyncio.run(opened.close())


TEXTS = [
    "How do I reset my password?",
    "what is the capital of France",
    "",
    "Explain the difference between a mutex and a semaphore, with an example in C.",
    "🙂 emoji, 日本語 and accents: café",
    "a much longer text " * 30,
]


async def test_vectors_are_float32_unit_and_of_the_promised_shape(embedder):
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


MIN_COSINE = {"int8": 0.999}
"""Cosine of a text's vector alone to its vector in a batch, where it isn't .9995: padding may tip roundings of int8."""


async def test_a_batch_keeps_its_order_and_company_moves_no_vector(embedder):
    together = await embedder.embed(TEXTS)
    alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
    similarity = (together * alone).sum(axis=1)
    assert similarity.min() > MIN_COSINE.get(embedder.stats().precision, 0.9995)


async def test_equal_texts_have_cosine_one(embedder):
    first, second = await embedder.embed([TEXTS[0], TEXTS[0]])
    assert first @ second == pytest.approx(1.0, abs=1e-5)


async def test_a_rewording_is_nearer_than_another_question(embedder):
    question, reworded, other = await embedder.embed(
        ["How do I reset my password?", "How can I reset my password", "what is the weather in Paris"]
    )
    assert question @ reworded > question @ other + 0.2


async def test_no_texts_give_no_vectors(embedder):
    assert (await embedder.embed([])).shape == (0, embedder.dimension)


async def test_callers_at_once_get_their_own_vectors(embedder):
    texts = [f"question number {number} about topic {number % 7}" for number in range(40)]
    expected = await embedder.embed(texts)
    vectors = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    similarity = np.concatenate(vectors) @ expected.T
    assert (similarity.argmax(axis=1) == np.arange(40)).all()


async def test_a_caller_who_leaves_takes_nobody_along(embedder):
    leaving = asyncio.create_task(embedder.embed(["someone who leaves"]))
    staying = asyncio.create_task(embedder.embed(["someone who stays"]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).shape == (1, embedder.dimension)
    with pytest.raises(asyncio.CancelledError):
        await leaving


def test_a_short_text_fits_and_a_very_long_one_does_not(embedder):
    assert embedder.fits("")
    assert embedder.fits("How do I reset my password?")
    assert not embedder.fits("word and another " * 2000)


def test_a_long_text_of_known_characters_is_known(embedder):
    assert embedder.knows("How do I reset my password?")
    assert embedder.knows("word and another " * 2000)


def test_tokens_are_counted_uncut(embedder):
    assert embedder.count_tokens("") == 0
    assert embedder.count_tokens("hello world") == 2
    assert embedder.count_tokens("hello world " * 3000) == pytest.approx(6000, rel=1e-3)


def test_stats_name_the_embedder(embedder):
    assert embedder.fingerprint
    stats = embedder.stats()
    assert (stats.fingerprint, stats.dimension) == (embedder.fingerprint, embedder.dimension)
    assert all([stats.backend, stats.device, stats.precision, stats.model])
    assert stats.adapter in {"", "random"}
    assert stats.adapter_problem == ""


async def test_after_closing_it_refuses(request):
    closed = HashingEmbedder()
    await closed.close()
    with pytest.raises(ShuttingDownError):
        await closed.embed(["too late"])


@pytest.mark.model
@pytest.mark.parametrize("name", ["openvino-auto", "torch-fp32"])
async def test_after_closing_a_real_one_refuses_too(name):
    closed = open_named(name)
    await closed.close()
    await closed.close()
    with pytest.raises(ShuttingDownError):
        await closed.embed(["too late"])
