"""The upstream: the router that asks one of several targets.

- It owns the way of one upstream call: the route's plan (`routes`), tries over targets (`tries`, `retries`,
  `retry_budget`), the health of targets (`fleet`, `breaker`), the degraded mode (`modes`), what is sent to a target and
  what comes (`target`, `relay`, `stream_usage`, `finishes`). `router` reads in call order. `batches` sends calls that
  belong together as one; `passage` passes calls of unknown paths on. `semcache.protocols` knows the wires.
  `verifier` and `judge` write the questions to models that the cache asks for itself, and read the replies.
- Thread: the event loop; long answers are read and written on the thread for long work, while their call waits.
- It remembers connections, breakers, the calls of the last window, 4,096 plans of routes, 1,024 models that targets
  refused, and which targets refuse to be asked for the usage of streams. All of it ends with the process. The modules
  that decide (`tries`, `breaker`, `modes`) get the time as an argument and wait for nothing.
"""

from semcache.upstream.breaker import Breaker, BreakerState
from semcache.upstream.judge import PROMPT_VERSION, JudgeReply, judge_body, output_limit_of, read_reply
from semcache.upstream.retries import Blame, blame, is_outage
from semcache.upstream.router import HttpUpstream, UpstreamObserver
from semcache.upstream.verifier import MAX_REPLY_TOKENS, confirms, verifier_body

__all__ = [
    "MAX_REPLY_TOKENS",
    "PROMPT_VERSION",
    "Blame",
    "Breaker",
    "BreakerState",
    "HttpUpstream",
    "JudgeReply",
    "UpstreamObserver",
    "blame",
    "confirms",
    "is_outage",
    "judge_body",
    "output_limit_of",
    "read_reply",
    "verifier_body",
]
