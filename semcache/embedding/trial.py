"""Choose the precision by a trial at the start, where the processor's flags leave open which is fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from semcache.embedding.backend import Backend

MIN_GAIN = 1.3
"""Times as fast as the best float precision that int8 must be: less isn't worth what it costs in fidelity."""
MIN_COSINE = 0.998
"""Cosine that the int8 vector of each check sentence must have to its float32 vector. MiniLM's have at least .9986
("yes"); a model whose activations don't fit 8 bits falls far below."""
_CHECK_BATCH = 8
"""Check sentences of one pass, of near lengths so that few tokens are padding."""
_ROUNDS = 5
"""Timed passes of each precision, the warm-up included."""
_WARM_UP = 2
"""First passes of each precision, whose times don't count."""

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
"""Prompts of many kinds and lengths: questions, commands, code, numbers, other scripts, one word."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The measurements of one precision.

    Attributes:
        precision: as in the settings.
        batch_s: seconds of a forward pass of 16 short texts, the best of several.
        lowest_cosine: of a check sentence's vector to its float32 one; 1 for float precisions, which aren't checked.
    """

    precision: str
    batch_s: float
    lowest_cosine: float = 1.0


def fastest(trials: Sequence[Trial]) -> tuple[str, str]:
    """Return the precision to run, and the measurements that decided. Pure.

    It is the faster float precision (the earlier of two equal ones), unless int8 is at least `MIN_GAIN` times as fast
    and the vector of every check sentence has a cosine of at least `MIN_COSINE` to its float32 one.
    """
    times = ", ".join(f"{trial.precision} {1e3 * trial.batch_s:.1f} ms" for trial in trials)
    measured = f"measured, {times} a batch"
    best = min((trial for trial in trials if trial.precision != "int8"), key=lambda trial: trial.batch_s)
    int8 = next((trial for trial in trials if trial.precision == "int8"), None)
    if int8 is None:
        return best.precision, measured
    measured += f"; the lowest cosine of int8 to fp32 is {int8.lowest_cosine:.5f}"
    if best.batch_s < MIN_GAIN * int8.batch_s:
        return best.precision, f"{measured}; int8 is not {MIN_GAIN} × as fast as {best.precision}"
    if not int8.lowest_cosine >= MIN_COSINE:  # true of NaN, too
        return best.precision, f"{measured}, below {MIN_COSINE}"
    return "int8", measured


def open_fastest(
    precisions: Sequence[str],
    opened: Callable[[str], Backend],
    sentences: Sequence[Sequence[int]],
    monotonic: Callable[[], float],
) -> tuple[str, str, Backend]:
    """Open each precision, try them, and close all but the one to run.

    Args:
        precisions: the preferred one first; fp32 among them where int8 is.
        opened: opens the backend of a precision.
        sentences: token ids of the check sentences.
        monotonic: seconds.

    Returns:
        The precision, the reason, and its open backend. An int8 backend that can't be opened or fails is not chosen,
        and the reason says so: it never keeps a server from starting with a float precision.
    """
    backends = {precision: opened(precision) for precision in precisions if precision != "int8"}
    cosines = dict.fromkeys(backends, 1.0)
    problem = ""
    if "int8" in precisions:
        try:
            backends["int8"] = opened("int8")
            cosines["int8"] = _lowest_cosine(backends["int8"], backends["fp32"], sentences)
        except Exception as error:  # noqa: BLE001 - whatever keeps int8 from running, a float precision runs
            problem = f"; int8 fails: {type(error).__name__}: {error}"
            if "int8" in backends:
                backends.pop("int8").close()
    times = _batch_s(backends, monotonic)
    chosen, why = fastest(
        [Trial(precision, times[precision], cosines[precision]) for precision in precisions if precision in backends]
    )
    for name, backend in backends.items():
        if name != chosen:
            backend.close()
    return chosen, why + problem, backends[chosen]


def _lowest_cosine(backend: Backend, reference: Backend, sentences: Sequence[Sequence[int]]) -> float:
    """Return the lowest cosine of a sentence's vector to that of the reference; NaN where one is NaN.

    Raises:
        ValueError: the backend gave another shape than the reference.
    """
    ranked = sorted(sentences, key=len)
    cosines = []
    for start in range(0, len(ranked), _CHECK_BATCH):
        batch = ranked[start : start + _CHECK_BATCH]
        vectors, expected = backend.forward(batch), reference.forward(batch)
        if vectors.shape != expected.shape:
            raise ValueError(f"it gave shape {vectors.shape} instead of {expected.shape}")
        cosines.append(float((vectors * expected).sum(axis=1).min()))
    return float(np.min(cosines))


def _batch_s(backends: Mapping[str, Backend], monotonic: Callable[[], float]) -> dict[str, float]:
    """Return the seconds of a forward pass of 16 short texts by precision, the best of three after two to warm up.

    The backends take turns, so that another process's burst on these cores slows all of them and not one alone.
    """
    batch = [range(1000, 1016)] * 16
    times: dict[str, list[float]] = {name: [] for name in backends}
    for _ in range(_ROUNDS):
        for name, backend in backends.items():
            started_s = monotonic()
            backend.forward(batch)
            times[name].append(monotonic() - started_s)
    return {name: min(seconds[_WARM_UP:]) for name, seconds in times.items()}
