"""What an operator does to a store while no server has it open: encrypt it as a whole, change its keys, erase a tenant.

Owns nothing: it takes the store's lock for as long as an act lasts.
Threads: the command's own.
Remembers nothing. Each act leaves a store that can be opened, wherever it is killed, and goes on when it is run again.
"""

from semcache.maintenance.encrypting import Progress, change_master_key, encrypt, erase, files_in_clear

__all__ = ["Progress", "change_master_key", "encrypt", "erase", "files_in_clear"]
