"""The index agrees with brute force after any mixture of additions, removals, searches and reloads."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from semcache.index import open_index
from semcache.index.bfloat16 import widened
from semcache.index.choice import SearchPlan
from semcache.index.partition import Partition
from semcache.index.strategies.ivf_codes import samples_for, train
from semcache.index.strategies.torch_gpu import TorchGpu
from semcache.index.tuning import IndexTuning
from semcache.model import Changes
from semcache.settings import IndexSettings

DIMENSION = 8
POOL = np.random.default_rng(1).standard_normal((300, DIMENSION)).astype(np.float32)
POOL /= np.linalg.norm(POOL, axis=1, keepdims=True)

partitions = st.sampled_from([b"a", b"b", b"c"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), partitions, st.integers(1, 40)),
        st.tuples(st.just("remove"), partitions, st.integers(1, 120)),
        st.tuples(st.just("search"), partitions, st.integers(1, 60)),
    ),
    max_size=40,
)

KINDS = {
    "numpy": IndexSettings(device="cpu", numpy_below=1000),
    "flat": IndexSettings(device="cpu", numpy_below=1),
    "ivf": IndexSettings(device="cpu", numpy_below=4, flat_below=16, nprobe=1000, overfetch=1000),
    "evicting": IndexSettings(device="cpu", numpy_below=8, max_partitions=2, max_vectors=60),
}


@pytest.mark.parametrize("kind", KINDS)
@given(steps=steps, data=st.data())
@settings(max_examples=60)
def test_index_equals_brute_force(kind, steps, data):
    truth: dict[bytes, dict[int, np.ndarray]] = {b"a": {}, b"b": {}, b"c": {}}

    def load(partition: bytes):
        held = truth[partition].copy()
        rows = np.array(list(held.values()), dtype=np.float32).reshape(len(held), DIMENSION)
        return np.array(list(held), dtype=np.int64), rows

    async def play() -> None:
        index = open_index(KINDS[kind], DIMENSION, load)
        next_id = 1
        for step, partition, number in steps:
            if step == "add":
                added = []
                for _ in range(number):
                    truth[partition][next_id] = POOL[next_id % len(POOL)]
                    added.append((partition, next_id, truth[partition][next_id]))
                    next_id += 1
                index.apply(Changes(added=tuple(added)))
            elif step == "remove":
                if truth[partition].pop(number, None) is not None:
                    index.apply(Changes(removed=((partition, number, b""),)))
            else:
                query = POOL[data.draw(st.integers(0, len(POOL) - 1))]
                found = await index.search(partition, query, number)
                held = truth[partition]
                expected = sorted((float(row @ query) for row in held.values()), reverse=True)[:number]
                assert [n.similarity for n in found] == pytest.approx(expected, abs=1e-5)  # ties are equal
                assert len({n.entry_id for n in found}) == len(found)
                for neighbour in found:
                    assert neighbour.similarity == pytest.approx(float(held[neighbour.entry_id] @ query), abs=1e-5)
        await index.close()

    with structlog.testing.capture_logs():
        asyncio.run(play())


PLAN = SearchPlan(numpy_below=4, ivf_above=16, gpu_from=30, nprobe=1000, overfetch=1000)
PLANS = {
    "float32": PLAN,
    "bfloat16": replace(
        PLAN,
        rounded_product=lambda rows, asked: widened(rows) @ widened(asked).T,
        tuning=IndexTuning(rounded_from=12),
    ),
    "torch": replace(PLAN, ivf_above=None, open_gpu=lambda rows: TorchGpu(rows.ids, rows.matrix, device="cpu")),
}
partition_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 80)),
        st.tuples(st.just("remove"), st.integers(1, 80)),
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("fill"), st.integers(1, 20)),
    ),
    max_size=60,
)


@pytest.mark.parametrize("plan", PLANS)
@given(steps=partition_steps, first=st.integers(17, 60), query=st.integers(0, len(POOL) - 1))
@settings(max_examples=150)
def test_a_partition_loses_nothing_while_its_index_is_made(plan, steps, first, query):
    """Additions, replacements and removals fall anywhere between the training, the filling and the swap."""
    truth = {entry_id: POOL[entry_id] for entry_id in range(1, first + 1)}
    part = Partition(PLANS[plan], np.array(list(truth), dtype=np.int64), np.array(list(truth.values())))
    for turn, (step, number) in enumerate(steps):
        if step == "add":  # an id that is there already gets another vector
            truth[number] = POOL[(number + turn) % len(POOL)]
            part.add(number, truth[number])
        elif step == "remove":
            truth.pop(number, None)
            part.remove(number)
        elif step == "begin" and part.wants_training:
            part.begin_filling(train(part.sample(samples_for(len(part))), len(part), threads=1))
        elif step == "fill":
            part.fill(number)
        found = {n.entry_id: n.similarity for n in part.search(POOL[query][None, :], 200)[0]}
        nearest = [n.similarity for n in part.search(POOL[query][None, :], 1)[0]]
        among_others = part.search(POOL[[query, *range(5)]], 3)[0]  # so many may be searched in another way
        expected = {entry_id: float(row @ POOL[query]) for entry_id, row in truth.items()}
        assert found == pytest.approx(expected, abs=1e-5)
        assert nearest == pytest.approx([max(expected.values())] if expected else [], abs=1e-5)
        best = sorted(expected.values(), reverse=True)[:3]
        assert [n.similarity for n in among_others] == pytest.approx(best, abs=1e-5)
