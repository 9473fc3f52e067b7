"""How OpenVINO runs a network; the contract suite tests what it computes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import structlog

pytest.importorskip("openvino")

from semcache.embedding import openvino_backend
from semcache.embedding.backend import padded
from semcache.embedding.factory import Choice, open_backend
from semcache.embedding.models import find_model
from semcache.embedding.openvino_backend import compile_network
from semcache.settings import EmbeddingSettings


@pytest.mark.model
@pytest.mark.parametrize(("threads", "lanes"), [(1, 1), (3, 2)])
def test_lanes_compute_at_the_same_time_each_its_own_batch(threads: int, lanes: int):
    files = find_model(EmbeddingSettings().model)
    backend = open_backend(EmbeddingSettings(), Choice("openvino", "cpu", "fp32", "for the test"), files, threads)
    assert backend.lanes == lanes
    batches = [[[101, 2000 + n, *range(3000, 3000 + n), 102]] * (1 + n % 3) for n in range(20)]
    expected = [backend.forward(batch) for batch in batches]

    def passes(lane: int) -> list[np.ndarray]:
        order = batches if lane == 0 else batches[::-1]
        found = [backend.forward(batch, lane) for batch in order]
        return found if lane == 0 else found[::-1]

    with ThreadPoolExecutor(lanes) as pool:
        for found in pool.map(passes, range(lanes)):
            for vectors, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(vectors, wanted, atol=1e-5)


@pytest.mark.model
@pytest.mark.parametrize(
    ("precision", "widths"), [("bf16", [16, 16, 16, 32, 40, 14]), ("fp32", [3, 16, 14, 17, 40, 14])]
)
def test_a_text_alone_is_padded_in_bf16_but_never_beyond_the_window(
    precision: str, widths: list[int], monkeypatch: pytest.MonkeyPatch
):
    files = replace(find_model(EmbeddingSettings().model), max_tokens=40)
    backend = open_backend(EmbeddingSettings(), Choice("openvino", "cpu", precision, "for the test"), files, 1)
    seen = []

    def watched(batch: Sequence[Sequence[int]], pad_id: int, multiple: int) -> tuple[np.ndarray, np.ndarray]:
        tokens, mask = padded(batch, pad_id, multiple)
        seen.append(tokens.shape[1])
        return tokens, mask

    monkeypatch.setattr(openvino_backend, "padded", watched)
    lengths = [3, 16, 14, 17, 40]
    alone = [backend.forward([text_of(length)])[0] for length in lengths]
    together = backend.forward([text_of(14), text_of(14)])
    assert seen == widths
    assert alone[2] @ together[0] > 0.999
    assert np.linalg.norm(alone, axis=1) == pytest.approx(1, abs=1e-3)


def text_of(length: int) -> list[int]:
    return [101, *range(2500, 2498 + length), 102]


class OlderCore:
    """Refuses `SNIPPETS_MODE` with OpenVINO's message."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem

    def compile_model(self, network: object, device: str, options: Mapping[str, object]) -> tuple[object, dict]:
        if "SNIPPETS_MODE" in options:
            raise RuntimeError("Exception from src/plugin.cpp:54:\nUnsupported property SNIPPETS_MODE by CPU plugin.\n")
        if self.problem:
            raise RuntimeError(self.problem)
        return network, dict(options)


def test_an_openvino_without_the_option_runs_the_network_as_it_does_and_says_so():
    with structlog.testing.capture_logs() as logs:
        assert compile_network(OlderCore(), "a network", {"NUM_STREAMS": 2}) == ("a network", {"NUM_STREAMS": 2})
    assert [(line["event"], line["why"]) for line in logs] == [
        ("embedding.attention_fused", "Unsupported property SNIPPETS_MODE by CPU plugin.")
    ]


def test_a_network_that_can_not_be_compiled_at_all_fails_with_its_own_reason():
    with pytest.raises(RuntimeError, match="no memory"):
        compile_network(OlderCore("no memory"), "a network", {})
