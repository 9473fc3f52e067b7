"""The gRPC front: its service, the wrapper that every call goes through, and the messages on the wire."""
