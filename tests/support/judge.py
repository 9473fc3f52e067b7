"""A judge by script: the replies that a model gives to the judge's question, and a cache that asks it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from semcache.model import UpstreamCall, Usage
from semcache.testing.upstream import Scripted, ScriptedUpstream, completion_body
from tests.support.caches import MODEL, Rig, rig

ROUTE = "judge"
QUESTION_USAGE = Usage(100, 0, 1)
QUESTION_NANOUSD = 100 * 150 + 600
"""What a question costs: 100 and 1 tokens at $0.15 and $0.60 per million."""
DEAR_USAGE = Usage(2_000, 0, 3_000)
"""Of an answer that is dear enough for a question to be worth it."""
DEAR_NANOUSD = 2_000 * 150 + 3_000 * 600

SEED = "how do I sort a list in python"
NEAR = "how do I order a list with python"
"""Its similarity to SEED is .71 and its score .51: below any threshold, and no guard vetoes it."""
VETOED = "how do I sort a list in python 3"
FAR = "which trains go to the coast at night"


def completion(
    token: str, probabilities: Mapping[str, float] | None = None, usage: Usage | None = QUESTION_USAGE
) -> bytes:
    """Return a `chat.completion` of one token, with log probabilities where some are given."""
    fields = json.loads(completion_body(token, model=MODEL, finish_reason="length", usage=usage))
    if probabilities is not None:
        listed = [{"token": each, "logprob": math.log(share)} for each, share in probabilities.items()]
        logprob = math.log(probabilities.get(token, 1e-9))
        fields["choices"][0]["logprobs"] = {
            "content": [{"token": token, "logprob": logprob, "top_logprobs": listed}],
            "refusal": None,
        }
    return json.dumps(fields).encode()


def says(token: str, probabilities: Mapping[str, float] | None = None) -> Scripted:
    """Return a judge's scripted reply."""
    return Scripted(body=completion(token, probabilities))


def judged_upstream(judge: Callable[[UpstreamCall], Scripted] | Scripted) -> ScriptedUpstream:
    """Return an upstream whose route `judge` replies by script; every other call gets a dear answer."""

    def answer(call: UpstreamCall) -> Scripted:
        if call.alias != ROUTE:
            return Scripted("An answer.", usage=DEAR_USAGE)
        return judge(call) if callable(judge) else judge

    return ScriptedUpstream(answer, models={MODEL: MODEL, "gpt-4o": "gpt-4o", ROUTE: MODEL})


def judged_rig(judge: Callable[[UpstreamCall], Scripted] | Scripted, **fields: Any) -> Rig:
    """Return a cache whose grey zone is judged by script.

    Args:
        judge: what the judge replies.
        fields: `verifier` has fields of the setting, `guards` those that are asked; the others are `rig`'s.
    """
    verifier = {"route": ROUTE, "from_similarity": 0.5, "deadline_s": 5.0, "usd_per_s": 0, **fields.pop("verifier", {})}
    decision = {"verifier": verifier}
    if "guards" in fields:
        decision["guards"] = fields.pop("guards")
    return rig(judged_upstream(judge), threshold=fields.pop("threshold", 0.9), decision=decision, **fields)


def questions(served: Rig) -> list[UpstreamCall]:
    """Return the calls that went to the judge."""
    return [call for call in served.upstream.calls if call.alias == ROUTE]
