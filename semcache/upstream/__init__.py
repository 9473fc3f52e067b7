"""Where answers come from: the OpenAI-compatible wire, and the router over its targets."""

from semcache.upstream.body import edit_body
from semcache.upstream.retries import Blame, blame
from semcache.upstream.router import HttpUpstream, UpstreamObserver
from semcache.upstream.verifier import MAX_REPLY_TOKENS, confirms, verifier_body
from semcache.upstream.wire import model_of, read_answer, read_usage, replay_chunks

__all__ = [
    "MAX_REPLY_TOKENS",
    "Blame",
    "HttpUpstream",
    "UpstreamObserver",
    "blame",
    "confirms",
    "edit_body",
    "model_of",
    "read_answer",
    "read_usage",
    "replay_chunks",
    "verifier_body",
]
