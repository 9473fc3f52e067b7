"""Keys depend on everything that a request says, and not on how its JSON is written."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.request.keys import key

scalars = st.one_of(st.booleans(), st.integers(-1000, 1000), st.text(max_size=8))
texts = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()))
extras = st.dictionaries(st.text(min_size=1, max_size=6).map(lambda name: "x_" + name), scalars, max_size=4)
tenants = st.sampled_from(["a", "b", "a/b", "ab"])


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    earlier = draw(st.lists(texts, max_size=3))
    messages = [{"role": "system", "content": text} for text in earlier]
    return {
        "model": draw(st.sampled_from(["m", "n"])),
        "messages": [*messages, {"role": "user", "content": draw(texts)}],
        **draw(extras),
    }


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(name, shuffled(item, rng)) for name, item in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [shuffled(item, rng) for item in value] if isinstance(value, list) else value


@given(bodies(), st.integers(0, 1000))
def test_the_order_of_fields_has_no_effect(body: dict[str, Any], seed: int) -> None:
    one, other = key(body), key(json.dumps(shuffled(body, random.Random(seed)), indent=1).encode())
    assert one.exact_key == other.exact_key
    assert one.partition == other.partition


@given(bodies(), bodies(), tenants, tenants)
def test_keys_are_equal_only_for_equal_requests(
    one: dict[str, Any], other: dict[str, Any], tenant: str, neighbour: str
) -> None:
    keyed, beside = key(one, tenant=tenant), key(other, tenant=neighbour)
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True) and tenant == neighbour
    assert (keyed.exact_key == beside.exact_key) == same
    if tenant != neighbour:
        assert keyed.partition != beside.partition
        assert keyed.exact_key != beside.exact_key


@given(bodies(), st.text(min_size=1, max_size=10))
def test_the_earlier_turns_keep_partitions_apart(body: dict[str, Any], word: str) -> None:
    turned = {**body, "messages": [{"role": "system", "content": word + "!"}, *body["messages"]]}
    assert key(body).partition != key(turned).partition
