"""The streams of a network by OpenVINO; what it computes is the contract suite's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")

from semcache.embedding.models import find_model
from semcache.embedding.openvino_backend import OpenVinoBackend
from semcache.settings import EmbeddingSettings

pytestmark = pytest.mark.model


@pytest.mark.parametrize(("threads", "streams"), [(1, 1), (3, 2)])
def test_streams_compute_at_the_same_time_and_each_what_it_was_given(threads: int, streams: int):
    files = find_model(EmbeddingSettings().model)
    cache_dir = Path.home() / ".cache" / "semcache"
    backend = OpenVinoBackend(files, precision="fp32", threads=threads, cache_dir=cache_dir)
    assert backend.streams == streams
    batches = [[[101, 2000 + n, *range(3000, 3000 + n), 102]] * (1 + n % 3) for n in range(20)]
    expected = [backend.forward(batch) for batch in batches]

    def passes(stream: int) -> list[np.ndarray]:
        order = batches if stream == 0 else batches[::-1]
        found = [backend.forward(batch, stream) for batch in order]
        return found if stream == 0 else found[::-1]

    with ThreadPoolExecutor(streams) as pool:
        for found in pool.map(passes, range(streams)):
            for vectors, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(vectors, wanted, atol=1e-5)
