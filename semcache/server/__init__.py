"""The gRPC server: the composition root, the calls, who is asking, and the mapping between messages and values."""
