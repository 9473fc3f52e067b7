"""A gRPC semantic cache for LLM requests."""

__version__ = "0.1.0"
