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


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner),
    max_leaves=4,
)
parts = st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=3)}, optional={"a": values})
contents = values | st.lists(parts, min_size=1, max_size=2)
odd_fields = st.sampled_from(["temperature", "max_tokens", "n", "seed", "stop", "tools", "user", "safety_identifier"])


@st.composite
def odd_bodies(draw: st.DrawFn) -> dict[str, Any]:
    turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "king", "tool"]), "content": contents})
    fields = draw(st.dictionaries(odd_fields, values, max_size=2))
    return {"model": "m", "messages": draw(st.lists(turns, min_size=1, max_size=2)), **fields}


def not_odd(body: dict[str, Any]) -> bool:
    return key(body).cacheability.reason != "unknown_form"


def meaning(body: dict[str, Any]) -> str:
    """All that tells requests apart: unset fields are left out, and the last user message's text is joined."""
    *earlier, last = body["messages"]
    content = last["content"]
    if last["role"] == "user" and isinstance(content, list) and content and not_odd(body):
        texts = [part["text"] for part in content if isinstance(part, dict) and part.keys() == {"type", "text"}]
        plain = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
        if plain and all(part["type"] == "text" for part in content) and "".join(texts).strip():
            last = {**last, "content": "\n".join(texts)}
    end_user = ("user", "safety_identifier")
    fields = {
        name: value
        for name, value in body.items()
        if value is not None and name != "messages" and not (value == "" and name in end_user)
    }
    return json.dumps([fields, earlier, last], sort_keys=True)


@given(odd_bodies(), odd_bodies())
def test_odd_requests_share_a_key_only_when_they_mean_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key(one).exact_key == key(other).exact_key) == (meaning(one) == meaning(other))
    changed = {**one, "messages": [*other["messages"], *one["messages"]]}
    assert key(changed).partition != key(one).partition


@given(odd_bodies())
def test_odd_requests_are_read_to_their_end(body: dict[str, Any]) -> None:
    keyed = key(body)
    assert keyed.choices >= 1
    assert keyed.output_limit is None or keyed.output_limit >= 1
    assert not keyed.text or keyed.cacheability.reason != "unknown_form"


@given(bodies(), st.text(min_size=1, max_size=10))
def test_the_earlier_turns_keep_partitions_apart(body: dict[str, Any], word: str) -> None:
    turned = {**body, "messages": [{"role": "system", "content": word + "!"}, *body["messages"]]}
    assert key(body).partition != key(turned).partition
