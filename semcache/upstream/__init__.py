"""The upstream: the wire of each protocol, and the router that asks one of several targets.

- It owns the way of one upstream call: the route's plan (`routes`), tries over targets (`tries`, `retries`,
  `retry_budget`), the health of targets (`fleet`, `breaker`), the degraded mode (`modes`), and what is sent and read
  (`body`, `stream_usage`, `wire`, `sse`, `relay`, `finishes`; `assembly` with `content` and `tool_calls`), the counts
  of a usage (`usage`), what came of lost answers (`lost`, `generated`). `router` reads in call order. `forms/` says of
  each protocol how its calls are sent and its answers read; `batches` sends calls that belong together as one.
- Thread: the event loop; long answers are read and written on the thread for long work, while their call waits.
- It remembers connections, breakers, the calls of the last window, 4,096 plans of routes, 1,024 models that targets
  refused, and which targets refuse to be asked for the usage of streams. All of it ends with the process. The modules
  that decide (`tries`, `breaker`, `modes`) get the time as an argument and wait for nothing.
"""

from semcache.upstream.body import edit_body, without_field
from semcache.upstream.forms import FORMS, Replay
from semcache.upstream.retries import Blame, blame, is_outage
from semcache.upstream.router import HttpUpstream, UpstreamObserver
from semcache.upstream.verifier import MAX_REPLY_TOKENS, confirms, verifier_body
from semcache.upstream.wire import read_answer, replay_chunks

__all__ = [
    "FORMS",
    "MAX_REPLY_TOKENS",
    "Blame",
    "HttpUpstream",
    "Replay",
    "UpstreamObserver",
    "blame",
    "confirms",
    "edit_body",
    "is_outage",
    "read_answer",
    "replay_chunks",
    "verifier_body",
    "without_field",
]
