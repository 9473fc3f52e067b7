"""A running server: how it is composed and admits calls, and how its process starts and ends.

Owns: `compose` makes all objects from settings, `app` is the server's life, `process` the process around it, and
`temporary` makes servers that keep nothing. `admission`, `auth` and `gate` let calls in and know no transport.
`errors_table` says how each error is reported. `grpc/` and `http/` are the fronts.
Thread: the event loop's. Opening the store and the model, and reading budgets, happens on worker threads at the start.
Remembers: calls in flight by tenant (`gate`), and the current certificates (`tls`).
"""
