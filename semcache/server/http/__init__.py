"""The HTTP front: the protocols of OpenAI and Anthropic, the list of models, management and health, on its own port.

Owns: `listener` listens, `connection` and `open_connections` bound what clients may take, `app` says which path leads
where, `call` is one call and `calls` admits it and reads its body, `generation` and `embeddings` answer it,
`protocols`, `messages` and `responses` say how each protocol is spoken, `refusals` answers what no call does, `origins`
says which web pages may call, `pass_through` takes unknown paths, `management` carries the proto's messages as JSON. It
decides nothing about answers, which the cache does. `wire.http_vendors` writes the errors, `wire.http_telling` the
headers.
Thread: the event loop's.
Remembers: the open connections. Requests that come again are in `request.memo`, which is filled after admission alone.
"""
