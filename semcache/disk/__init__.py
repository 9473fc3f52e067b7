"""The data file of a store and the disk below it: its pages, its open environment, its room, its modes.

It knows LMDB, and not what the rows hold. Any thread may begin a transaction in `environment`; `room` belongs to the
writer's thread; `pages`, `trees`, `inspecting` and `modes` are read and set when a file is opened.
"""

from semcache.disk.environment import Environment
from semcache.disk.modes import narrow
from semcache.disk.room import FileRoom

__all__ = ["Environment", "FileRoom", "narrow"]
