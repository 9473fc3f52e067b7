"""Fuzzing by Hypothesis: `python -m tests.nightly fuzz --minutes 60`.

Each target draws inputs and says what may not happen. They take turns until the time is over. A failure prints the
smallest input that Hypothesis finds, with its seed; a stall of the event loop prints the input as it was drawn, since a
measured time can't be made smaller by repeating it.
"""

from __future__ import annotations

import gc
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.nightly.fuzz_targets import Target, open_targets
from tests.nightly.watched import STALL_S

_EXAMPLES = 40
"""Inputs of one turn of a target."""
_MOST_FAILURES = 5
"""A target that failed so often gets no more turns."""
_TELL_S = 60.0
_REPORT_CHARS = 6_000


@dataclass
class Fuzzing:
    """What the fuzzing found.

    Attributes:
        inputs: how many of each target.
        longest_stall_s: of the event loop, of each target that is a server's.
        failures: of each target, the reports.
        stalls: of each target, the inputs at which the event loop stood still for too long.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    longest_stall_s: dict[str, float] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)
    stalls: dict[str, list[str]] = field(default_factory=dict)

    def failed(self, name: str) -> int:
        """Return how often a target failed or stalled."""
        return len(self.failures.get(name, ())) + len(self.stalls.get(name, ()))

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "inputs": dict(self.inputs),
            "longest_stall_ms": {name: round(value * 1000, 1) for name, value in self.longest_stall_s.items()},
            "problems": {
                **{name: len(reports) for name, reports in self.failures.items()},
                **{f"{name}: stalls": len(reports) for name, reports in self.stalls.items()},
            },
        }


def fuzz(
    folder: Path,
    *,
    minutes: float = math.inf,
    rounds: int = sys.maxsize,
    seed_number: int,
    names: Sequence[str] = (),
    on_progress: Callable[[str], None] = print,
) -> Fuzzing:
    """Fuzz until the time or the rounds are over, or until every target has failed too often.

    Args:
        folder: an empty folder, for the files of some targets.
        minutes: how long.
        rounds: how many turns each target gets.
        seed_number: of the first turn; each turn has the next one.
        names: the targets; none: all.
        on_progress: called with each failure's report, and with a line every minute.
    """
    fuzzing = Fuzzing()
    with ExitStack() as closing:
        targets = [target for target in open_targets(folder, closing) if not names or target.name in names]
        started_s = told_s = time.monotonic()
        gc.disable()  # A collection on the server's thread would count as the server's standstill.
        closing.callback(gc.enable)
        for number, target in _turns(targets, rounds, fuzzing):
            if time.monotonic() - started_s >= minutes * 60:
                break
            Turn(target, seed_number + number, fuzzing, on_progress).play()
            gc.collect()
            if time.monotonic() - told_s > _TELL_S:
                told_s = time.monotonic()
                on_progress(f"{fuzzing.inputs.total()} inputs in {told_s - started_s:.0f} s")
    return fuzzing


def _turns(targets: Sequence[Target], rounds: int, fuzzing: Fuzzing) -> Iterator[tuple[int, Target]]:
    """Yield the number of each turn and its target, until every target has failed too often."""
    number = 0
    for _ in range(rounds):
        left = [target for target in targets if fuzzing.failed(target.name) < _MOST_FAILURES]
        if not left:
            return
        for target in left:
            yield number, target
            number += 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Some inputs of one target, drawn under one seed."""

    target: Target
    number: int
    fuzzing: Fuzzing
    on_progress: Callable[[str], None]

    def play(self) -> None:
        """Draw and play the inputs, and record what they find."""

        @seed(self.number)
        @settings(
            max_examples=_EXAMPLES,
            database=None,
            derandomize=False,
            deadline=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(self.target.inputs)
        def play(drawn: object) -> None:
            self.fuzzing.inputs[self.target.name] += 1
            self.target.play(drawn)
            self._look_for_stall(drawn)

        try:
            play()
        except Exception as error:  # noqa: BLE001 - whatever a target finds is its report
            self._report(self.fuzzing.failures, "".join(traceback.format_exception(error, limit=-8))[-_REPORT_CHARS:])
            self.target.take_stall()

    def _look_for_stall(self, drawn: object) -> None:
        stall_s = self.target.take_stall()
        if stall_s is None:
            return
        longest = self.fuzzing.longest_stall_s
        longest[self.target.name] = max(stall_s, longest.get(self.target.name, 0.0))
        if stall_s > STALL_S:
            sentence = f"the event loop stood still for {stall_s * 1000:.0f} ms: {shortened(drawn)}"
            self._report(self.fuzzing.stalls, sentence)

    def _report(self, reports: dict[str, list[str]], report: str) -> None:
        reports.setdefault(self.target.name, []).append(report)
        self.on_progress(f"--- {self.target.name}, seed {self.number}\n{report}")


def shortened(drawn: object) -> str:
    """Return an input as Python code, without the middle of a long one."""
    text = repr(drawn)
    return text if len(text) <= 3000 else f"{text[:2000]} … {text[-500:]} ({len(text)} characters)"
