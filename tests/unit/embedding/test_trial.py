"""Which precision a trial chooses, and that only its backend stays open."""

from collections.abc import Callable

import numpy as np
import pytest

from semcache.embedding.trial import CHECK_SENTENCES, Trial, fastest, open_fastest
from semcache.errors import StartError

IDS = [range(1000, 1000 + length) for length in range(3, 30)]


class Timed:
    """A backend whose pass takes `takes_s` on the given clock, and whose vectors have a given cosine to (1, 0)."""

    def __init__(self, clock: list[float], takes_s: float, cosine: float = 1.0) -> None:
        self.clock, self.takes_s, self.closed = clock, takes_s, False
        self.vector = np.array([cosine, (1 - cosine**2) ** 0.5], np.float32)

    def forward(self, batch):
        self.clock[0] += self.takes_s
        return np.tile(self.vector, (len(batch), 1))

    def describe(self):
        return {}

    def close(self):
        self.closed = True


def tried(backends: dict[str, Timed], opened: Callable | None = None):
    clock = next(iter(backends.values())).clock
    return open_fastest(list(backends), opened or backends.__getitem__, IDS, lambda: clock[0])


@pytest.mark.parametrize(
    ("bf16_s", "fp32_s", "int8_s", "cosine", "taken"),
    [
        (0.004, 0.007, None, 1.0, "bf16"),
        (0.007, 0.004, None, 1.0, "fp32"),
        (0.005, 0.005, None, 1.0, "bf16"),
        (0.007, 0.004, 0.002, 0.9995, "int8"),
        (0.004, 0.007, 0.003, 0.9995, "int8"),
        (0.0038, 0.007, 0.003, 0.9995, "bf16"),
        (0.007, 0.0038, 0.003, 0.9995, "fp32"),
        (0.007, 0.004, 0.002, 0.998, "int8"),
        (0.007, 0.004, 0.002, 0.9979, "fp32"),
        (0.007, 0.004, 0.002, float("nan"), "fp32"),
    ],
)
def test_int8_must_be_much_faster_and_true(bf16_s, fp32_s, int8_s, cosine, taken):
    trials = [Trial("bf16", bf16_s), Trial("fp32", fp32_s)]
    if int8_s is not None:
        trials.append(Trial("int8", int8_s, cosine))
    assert fastest(trials)[0] == taken


def test_the_reason_has_the_figures():
    floats = [Trial("bf16", 0.007), Trial("fp32", 0.004)]
    assert fastest(floats)[1] == "measured, bf16 7.0 ms, fp32 4.0 ms a batch"
    assert fastest([*floats, Trial("int8", 0.002, 0.99912)])[1] == (
        "measured, bf16 7.0 ms, fp32 4.0 ms, int8 2.0 ms a batch; the lowest cosine of int8 to fp32 is 0.99912"
    )
    assert fastest([*floats, Trial("int8", 0.0035, 0.99912)])[1].endswith("int8 is not 1.3 × as fast as fp32")
    assert fastest([*floats, Trial("int8", 0.002, 0.9912)])[1].endswith("is 0.99120, below 0.998")


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ({"bf16": 0.004, "fp32": 0.007}, "bf16"),
        ({"bf16": 0.007, "fp32": 0.004}, "fp32"),
        ({"bf16": 0.007, "fp32": 0.004, "int8": 0.002}, "int8"),
        ({"fp32": 0.004, "int8": 0.0035}, "fp32"),
    ],
)
def test_all_but_the_taken_backend_are_closed(times, taken):
    clock = [0.0]
    backends = {name: Timed(clock, seconds, 0.9995 if name == "int8" else 1.0) for name, seconds in times.items()}
    chosen, why, backend = tried(backends)
    assert chosen == taken
    assert backend is backends[taken]
    assert [name for name, one in backends.items() if not one.closed] == [taken]
    assert f"{taken} {1e3 * times[taken]:.1f} ms" in why


def test_vectors_that_are_not_kept_are_seen_whichever_batch_they_are_in():
    clock = [0.0]
    int8 = Timed(clock, 0.001)
    right = int8.forward

    def wrong_once(batch):
        vectors = right(batch)
        vectors[[len(ids) == 17 for ids in batch]] = (0.99, 0.1411)
        return vectors

    int8.forward = wrong_once
    chosen, why, _ = tried({"fp32": Timed(clock, 0.004), "int8": int8})
    assert chosen == "fp32"
    assert "is 0.99000, below" in why
    assert int8.closed


@pytest.mark.parametrize("broken", ["open", "fails", "shape"])
def test_an_int8_that_can_not_run_leaves_the_start_to_the_others(broken):
    clock = [0.0]
    fp32, int8 = Timed(clock, 0.004), Timed(clock, 0.001)
    if broken == "fails":
        int8.forward = lambda batch: 1 / 0
    if broken == "shape":
        int8.forward = lambda batch: np.zeros((0, 2), np.float32)

    def opened(name):
        if name == "int8" and broken == "open":
            raise StartError("it multiplies by no constant matrix")
        return {"fp32": fp32, "int8": int8}[name]

    chosen, why, backend = tried({"fp32": fp32, "int8": int8}, opened)
    assert (chosen, backend) == ("fp32", fp32)
    assert "int8 fails" in why
    assert int8.closed is (broken != "open")
    assert not fp32.closed


def test_the_check_sentences_are_many_and_differ():
    assert len(set(CHECK_SENTENCES)) == len(CHECK_SENTENCES) >= 24
