"""The ways to search one partition: exhaustively, by IVF lists, or on a GPU; each a class with one `search`.

A strategy belongs to one partition and is used by the index's worker thread alone. `Flat` and `Rounded` read the
partition's rows. `Ivf`, `FaissGpu` and `TorchGpu` hold copies of the vectors and follow its changes. A module imports
its library when it is imported itself, so that a machine needs only what it uses.
"""
