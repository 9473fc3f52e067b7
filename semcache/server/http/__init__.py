"""The HTTP front: the protocols of OpenAI and Anthropic, the list of models, management and health, on its own port.

Owns: `listener` listens, `connection` and `open_connections` bound what clients may take, `app` says which path leads
where, `calls` admits a call and reads its body, `generation` and `embeddings` answer it, `protocols`, `messages` and
`responses` say how each protocol is spoken, `pass_through` takes unknown paths, `telling` says what happened,
`management` carries the proto's messages as JSON. It decides nothing about answers: the cache does.
Thread: the event loop's.
Remembers: the open connections. Requests that come again are in `request.memo`, which is filled after admission alone.
"""
