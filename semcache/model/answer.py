"""One whole answer of an upstream, the call that asks for it, and the upstream's mode."""

from __future__ import annotations

from dataclasses import dataclass, field

from semcache.model.money import Usage
from semcache.model.protocol import ApiProtocol, ProtocolHeaders


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer of an upstream.

    Attributes:
        body: the protocol's JSON of a whole answer as the upstream sent it, or assembled from its stream.
        model: the model that the upstream says it has used.
        target_model: the model that the route named to the target; a hit requires that it is still routed.
        route: the target's name, empty for an answer that a caller stored.
        tool_calls: whether the answer calls tools or functions.
        latency_s: seconds of the upstream call, retries included.
        attempts: tries that it took.
        flaw: why the answer isn't stored whatever its request is, a stable token; empty for a sound answer.
    """

    body: bytes
    model: str
    finish_reason: str
    usage: Usage
    text: str = ""
    target_model: str = ""
    route: str = ""
    degraded: bool = False
    tool_calls: bool = False
    latency_s: float = 0.0
    attempts: int = 1
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """What came of an answer that can't be used, though its upstream charges for it.

    Attributes:
        model: the model that the answer names; the one that was asked for where it names none.
        usage: its counts as far as they came; 0 for a count that didn't, flagged as estimated.
        text: all text that came, of every choice, with reasoning and calls of tools.
        text_chars: how many characters the whole text is taken to have; more than came where it is known that some
            is missing.
        target_model: the model that the target was asked for.
        route: the target's name.
        degraded: whether its answers are worse than what was asked for.
    """

    model: str
    usage: Usage
    text: str = ""
    text_chars: int = 0
    target_model: str = ""
    route: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """What an upstream needs to answer.

    Attributes:
        alias: the model that the caller named.
        body: the body as the caller sent it.
        deadline_s: when to give up, monotonic seconds.
        task_type: chooses among the alias's routes; empty when unknown.
        complexity: chooses among the alias's routes; empty when unknown.
        degraded: whether the route's degraded alias is asked first.
        barred: models that may not be asked, on whichever target, because a budget has no room for them.
        tenant: who asks; tenants share the places at a target.
        protocol: the API whose shape the body has; only targets that speak it are asked.
        headers: the protocol's own headers, which are sent along.
        batch: names the calls that may be sent as one; empty for a call by itself.
        optional: whether its request is answered without it too. Such a call isn't repeated, and how it fails counts
            neither against a target that answers requests nor for the degraded mode.
        lost: the upstream adds the charged answer of each try that couldn't be used, however the call ends.
    """

    alias: str
    body: bytes
    deadline_s: float
    request_id: str
    task_type: str = ""
    complexity: str = ""
    degraded: bool = False
    barred: frozenset[str] = frozenset()
    tenant: str = ""
    protocol: ApiProtocol = ApiProtocol.CHAT
    headers: ProtocolHeaders = ()
    batch: str = ""
    optional: bool = False
    lost: list[LostAnswer] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Mode:
    """Whether the upstream runs degraded now, why, and by which measures (`settings.DegradedSettings`)."""

    active: bool = False
    reason: str = ""
    measures: frozenset[str] = frozenset()


NORMAL = Mode()
