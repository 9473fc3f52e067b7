"""The arrays that every backend computes."""

import pytest

from semcache.embedding.backend import padded


@pytest.mark.parametrize(("multiple", "width"), [(1, 3), (2, 4), (3, 3), (16, 16)])
def test_texts_are_padded_to_the_longest_or_the_next_multiple(multiple: int, width: int):
    tokens, mask = padded([[7, 8, 9], [5]], 1, multiple)
    assert tokens.tolist() == [[7, 8, 9, *[1] * (width - 3)], [5, *[1] * (width - 1)]]
    assert mask.tolist() == [[1, 1, 1, *[0] * (width - 3)], [1, *[0] * (width - 1)]]
