"""What an operator sees: metrics, their page, logs, and the seam for traces.

- It owns every instrument (`instruments`), what is counted when (`metrics`), and the form of a log line (`logs`).
- Threads: `Metrics` may be called from any thread, and counts under one lock. The exporter answers scrapes on a thread
  of its own, which calls the `read` functions of `Watches`. Logging happens on the thread that logs.
- It remembers counts since the start, the last window's sums by sixtieths, the series of 1,024 kinds of requests, and
  the label values that code made up, 64 or 256 a label. Nobody empties these before the process ends.
- It never puts a prompt, a key or a namespace into a label or a line.
"""
