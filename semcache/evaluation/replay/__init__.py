"""Streams and pairs played through a real server, and what came of them."""
