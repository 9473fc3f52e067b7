"""Names what computed a similarity, so that a threshold isn't applied to the similarities of something else."""

from __future__ import annotations

from semcache.errors import SettingsError
from semcache.model.snapshot import EmbedderStats
from semcache.settings import DecisionSettings

_FINGERPRINT_CHARS = 12
"""Hex digits of the fingerprint: as many as the log shows, and enough that no two models share them by accident."""


def origin_of(stats: EmbedderStats) -> str:
    """Return the name of what computes similarities: model, fingerprint, runtime, precision.

    The fingerprint is that of the weights, an adapter included. The parts are separated by one space, and `-` stands
    for an unknown one.
    """
    parts = (stats.model, stats.fingerprint[:_FINGERPRINT_CHARS], stats.backend, stats.precision)
    return " ".join("-".join(part.split()) or "-" for part in parts)


def check_tuned_for(decision: DecisionSettings, stats: EmbedderStats) -> None:
    """Raise if the thresholds were tuned for something else than what runs here.

    Raises:
        SettingsError: `decision.tuned_for` names another model, adapter, runtime or precision.
    """
    running = origin_of(stats)
    wanted = decision.tuned_for
    if not wanted or wanted == running:
        return
    names = ("the model", "the weights or the adapter", "the runtime", "the precision")
    before, now = wanted.split(), running.split()
    if len(before) == len(now):
        differences = [
            f"{name} is {here} and not {there}"
            for name, there, here in zip(names, before, now, strict=True)
            if there != here
        ]
        difference = ", ".join(differences)
    else:
        difference = f"here it is {running!r}"
    # The precision "auto" is measured at the start, so a busy machine may choose another than it did before.
    first = ""
    if len(before) == len(now) and before[-1] != now[-1]:
        first = f'Set embedding.precision = "{before[-1]}", since auto may choose another at each start. Or run'
    problem = (
        f"decision.tuned_for: the threshold was tuned for {wanted!r}, but {difference}. {first or 'Run'} "
        "`semcache tune` here and paste its result, or remove tuned_for and the threshold for the default"
    )
    raise SettingsError([problem])
