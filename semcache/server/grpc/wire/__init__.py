"""Messages of `semcache.v1` to semcache's own values and back, with every check of the input."""
