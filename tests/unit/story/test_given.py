"""Which given embeddings are checked, and what a wrong one leads to."""

import random

import numpy as np
import pytest
from structlog.testing import capture_logs

from semcache.errors import InvalidRequestError
from semcache.model import Deposit, Tier
from semcache.story.given import LEAST_COSINE, GivenEmbeddings
from tests.support.caches import deposit, request, rig

SERVED = rig()
RIGHT = SERVED.embedder.vector("one")


def bringing(vector, tenant: str = "acme") -> Deposit:
    return deposit(SERVED, request("one", tenant=tenant), vector=vector, fingerprint="f", caller="ci")


def turned(cosine: float) -> np.ndarray:
    """Return a unit vector that has this cosine with `RIGHT`."""
    aside = np.roll(RIGHT, 1)
    aside = aside - (aside @ RIGHT) * RIGHT
    aside /= np.linalg.norm(aside)
    return (cosine * RIGHT + np.sqrt(1 - cosine**2) * aside).astype(np.float32)


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.0, 0, 0), (0.05, 30, 75), (1.0, 1000, 1000)])
def test_a_share_is_drawn(ratio: float, low: int, high: int) -> None:
    given = GivenEmbeddings(ratio, random.Random(7))
    assert low <= sum(given.draws(bringing(RIGHT)) for _ in range(1000)) <= high


def test_one_that_the_server_makes_itself_is_never_drawn() -> None:
    assert not GivenEmbeddings(1.0).draws(bringing(None))


def test_precisions_of_one_model_pass() -> None:
    GivenEmbeddings(1.0).check(bringing(turned(LEAST_COSINE + 0.005)), RIGHT)


@pytest.mark.parametrize("cosine", [LEAST_COSINE - 0.005, 0.5, 0.0, -1.0])
def test_a_wrong_one_is_refused_named_and_makes_its_tenant_be_checked_always(cosine: float) -> None:
    given = GivenEmbeddings(0.0)
    with capture_logs() as logs, pytest.raises(InvalidRequestError, match="isn't that of the request's text") as caught:
        given.check(bringing(turned(cosine)), RIGHT)
    assert caught.value.reason == "EMBEDDING_MISMATCH"
    assert [(line["event"], line["caller"], line["tenant"]) for line in logs] == [
        ("story.given_embedding_wrong", "ci", "acme")
    ]
    assert given.draws(bringing(RIGHT))
    assert not given.draws(bringing(RIGHT, tenant="globex"))


async def test_what_is_not_compared_by_meaning_is_stored_without_a_vector() -> None:
    served = rig()
    hidden = deposit(served, request("one\U000e0041"), vector=RIGHT, fingerprint=served.embedder.fingerprint)
    assert hidden.keyed.cacheability.tier is Tier.EXACT
    stored = await served.cache.store(hidden)
    assert stored.entry is not None
    assert not await served.store.vectors.has(stored.entry.partition)
