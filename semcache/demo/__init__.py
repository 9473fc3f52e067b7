"""`semcache demo`: a real server, a scripted upstream, a few hundred prompts, and an honest table of what came of it.

`semcache.demo.run` has `run` and `DemoOptions`; `semcache.demo.provider` is the scripted upstream, its own program.
"""
