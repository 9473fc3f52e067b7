"""How a batch is spread over the streams; the network itself is the contract suite's."""

import pytest

pytest.importorskip("openvino")

from semcache.embedding.openvino_backend import _parts


@pytest.mark.parametrize(
    ("texts", "most", "sizes"),
    [(1, 2, [1]), (7, 2, [7]), (8, 2, [4, 4]), (9, 2, [4, 5]), (32, 2, [16, 16]), (32, 1, [32])],
)
def test_a_batch_is_spread_in_order_and_small_ones_stay_whole(texts: int, most: int, sizes: list[int]):
    batch = [[number] for number in range(texts)]

    parts = _parts(batch, most)

    assert [len(part) for part in parts] == sizes
    assert [ids for part in parts for ids in part] == batch
