"""The fakes that ship with semcache, so that what is built on it is tested without a model, a disk or a network."""
