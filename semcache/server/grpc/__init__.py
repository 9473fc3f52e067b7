"""The gRPC front: the listener, the service, and what every call goes through.

Owns: `server` listens, `calls` admits a call and reads its message, `service` has a method for each call, `status`
turns an error into a gRPC status. It decides nothing about answers: the cache does.
Thread: the event loop's. gRPC's own threads hand calls over and read certificates at handshakes.
Remembers: nothing itself. Messages that come again are in `request.memo`, which is filled after admission alone.
"""
