"""Messages of `semcache.v1`: into semcache's own values, with every check of the input, and back.

Owns: the checks of names, times and batches; the translation of requests, outcomes, statistics and savings; what the
HTTP front's headers ask for and tell, and how errors are written.
Thread: the event loop's.
Remembers: the serialised parts of exact hits (`hits.HitMessages`, 32 MiB, by message type and entry; the store's
commits empty it). Everything else is a function of its arguments.
"""
