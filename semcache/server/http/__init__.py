"""The HTTP front: OpenAI's chat completions, the list of models, management and health, on a port of its own.

Owns: `listener` listens, `connection` bounds what a client may send, `app` says which path leads where, `calls` admits
a call and reads its body, `chat` is one protocol, `wishes` reads what a request asks of the cache, `telling` says what
happened, `management` carries the proto's messages as JSON. It decides nothing about answers: the cache does.
Thread: the event loop's.
Remembers: nothing itself. Requests that come again are in `request.memo`, which is filled after admission alone.
"""
