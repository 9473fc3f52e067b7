"""Which precision runs where the processor's flags leave it open: each is tried at the start, its time and vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semcache.embedding.backend import Backend

LEAST_GAIN = 1.3
"""How many times as fast as the best float precision int8 must be: a little isn't worth what it costs in fidelity."""
LEAST_COSINE = 0.998
"""What the int8 vector of each check sentence must have to its float32 one. MiniLM's have .9986 ("yes") and more; a
model with activations that 8 bits can't hold falls far below."""
_TOGETHER = 8
"""Check sentences of one pass: those of near lengths, so that few tokens are padding."""
_ROUNDS = 5
_WARM_UP = 2

CHECK_SENTENCES = (
    "How do I reset my password?",
    "what is the capital of france",
    "Cancel my subscription, but don't delete my account.",
    "Is it safe to take 400 mg of ibuprofen with 500 mg of paracetamol twice a day?",
    "Flights from Boston to Austin on 3 March, returning on the 10th, under $350",
    "Explain the difference between a mutex and a semaphore, with an example in C.",
    "def mean(xs):\n    return sum(xs) / len(xs)\n\nWhy does this fail for an empty list?",
    "SELECT name, COUNT(*) FROM orders WHERE paid = 0 GROUP BY name HAVING COUNT(*) > 3;",
    "git rebase -i HEAD~3 says: error: cannot rebase: You have unstaged changes.",
    "Summarise the causes of the First World War in three sentences.",
    "Write a haiku about the sea in winter.",
    "translate 'good morning, my friends' into Portuguese",
    "My order #48213-B has not arrived; where is it?",
    "What does CVE-2021-44228 allow an attacker to do, and which versions of log4j are safe?",
    "Who won the men's final at Wimbledon in 2008?",
    "Solve x^2 - 5x + 6 = 0 and show every step.",
    "Wie kann ich meine Rechnung als PDF herunterladen?",
    "¿A qué hora abre la biblioteca los domingos?",
    "Quels sont les effets secondaires de ce médicament ?",
    "日本語で自己紹介を書いてください。",
    "thx!! 🙂",
    "yes",
    (
        "I moved last month, my landlord keeps the deposit and says that the carpet was damaged, although the photos "
        "that I took on the day of the handover show it without a stain. How long may he keep the money, and what "
        "should I write to him?"
    ),
    (
        "You are given the minutes of a meeting. List each decision, who is responsible and the deadline, as a table "
        "with three columns, and leave out whatever was only discussed."
    ),
)
"""Prompts of many kinds and lengths: questions, commands, code, figures, other scripts, one word."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one precision did.

    Attributes:
        precision: as in the settings.
        batch_s: seconds of a forward pass of 16 short texts, the best of several.
        lowest_cosine: of a check sentence's vector to its float32 one; 1 for the float precisions, which aren't asked.
    """

    precision: str
    batch_s: float
    lowest_cosine: float = 1.0


def fastest(trials: Sequence[Trial]) -> tuple[str, str]:
    """The precision to run, and the figures that decided. Pure.

    The faster float one (the earlier of two equal ones), unless int8 is at least `LEAST_GAIN` times as fast as that and
    every check sentence kept its vector to within `LEAST_COSINE`.
    """
    measured = "measured, " + ", ".join(f"{one.precision} {1e3 * one.batch_s:.1f} ms" for one in trials) + " a batch"
    best = min((one for one in trials if one.precision != "int8"), key=lambda one: one.batch_s)
    int8 = next((one for one in trials if one.precision == "int8"), None)
    if int8 is None:
        return best.precision, measured
    measured += f"; the lowest cosine of int8 to fp32 is {int8.lowest_cosine:.5f}"
    if best.batch_s < LEAST_GAIN * int8.batch_s:
        return best.precision, f"{measured}; int8 is not {LEAST_GAIN} × as fast as {best.precision}"
    if not int8.lowest_cosine >= LEAST_COSINE:  # also where it is not a number
        return best.precision, f"{measured}, below {LEAST_COSINE}"
    return "int8", measured


def open_fastest(
    precisions: Sequence[str],
    opened: Callable[[str], Backend],
    sentences: Sequence[Sequence[int]],
    monotonic: Callable[[], float],
) -> tuple[str, str, Backend]:
    """Opens each precision, tries them, and closes all but the one to run.

    Args:
        precisions: the preferred one first; fp32 among them where int8 is.
        opened: opens the backend of a precision.
        sentences: token ids of the check sentences.
        monotonic: seconds.

    Returns:
        The precision, why, and its open backend. An int8 backend that can't be opened or fails is out of the running,
        and the reason says so: a start that floats can make never fails for it.
    """
    backends = {one: opened(one) for one in precisions if one != "int8"}
    cosines = dict.fromkeys(backends, 1.0)
    problem = ""
    if "int8" in precisions:
        try:
            backends["int8"] = opened("int8")
            cosines["int8"] = _lowest_cosine(backends["int8"], backends["fp32"], sentences)
        except Exception as error:  # noqa: BLE001 - whatever keeps int8 from running, another precision does
            problem = f"; int8 fails: {type(error).__name__}: {error}"
            if "int8" in backends:
                backends.pop("int8").close()
    times = _batch_s(backends, monotonic)
    chosen, why = fastest([Trial(one, times[one], cosines[one]) for one in precisions if one in backends])
    for name, backend in backends.items():
        if name != chosen:
            backend.close()
    return chosen, why + problem, backends[chosen]


def _lowest_cosine(backend: Backend, reference: Backend, sentences: Sequence[Sequence[int]]) -> float:
    ranked = sorted(sentences, key=len)
    lowest = []
    for start in range(0, len(ranked), _TOGETHER):
        some = ranked[start : start + _TOGETHER]
        vectors, expected = backend.forward(some), reference.forward(some)
        if vectors.shape != expected.shape:
            raise ValueError(f"it gave shape {vectors.shape} instead of {expected.shape}")
        lowest.append(float((vectors * expected).sum(axis=1).min()))
    return float(np.min(lowest))  # not a number where one of them is none


def _batch_s(backends: Mapping[str, Backend], monotonic: Callable[[], float]) -> dict[str, float]:
    """Seconds of a forward pass of 16 short texts, the best of three after two to warm up.

    They take turns, so that a neighbour's burst on the same cores slows all of them and not one.
    """
    batch = [range(1000, 1016)] * 16
    times: dict[str, list[float]] = {name: [] for name in backends}
    for _ in range(_ROUNDS):
        for name, backend in backends.items():
            started = monotonic()
            backend.forward(batch)
            times[name].append(monotonic() - started)
    return {name: min(taken[_WARM_UP:]) for name, taken in times.items()}
