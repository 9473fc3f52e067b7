"""Translation between the messages of `semcache.v1` and semcache's own values, both ways, with every check of the input."""
