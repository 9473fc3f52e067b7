"""Runs `semcache demo`: a real server, a scripted provider, a few hundred prompts, and a table of the results.

- `run.py` starts the parts, plays the prompts and prints the report.
- `provider.py` is the scripted provider, a program of its own; it runs as a child process.
- `correctness.py` traces each hit to the request whose answer it served, and compares their labels.

The server runs in this process, on this event loop, with a temporary store that is deleted at the end. The provider
watches its standard input in a daemon thread, so that it ends with the demo. Nothing is remembered between runs.
"""
