"""Where answers come from: the OpenAI-compatible wire, and the router over its targets."""

from semcache.upstream.body import edit_body
from semcache.upstream.modes import Mode
from semcache.upstream.router import HttpUpstream, UpstreamObserver
from semcache.upstream.wire import read_answer, read_usage, replay_chunks

__all__ = ["HttpUpstream", "Mode", "UpstreamObserver", "edit_body", "read_answer", "read_usage", "replay_chunks"]
