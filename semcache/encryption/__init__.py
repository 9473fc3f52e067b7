"""Encryption at rest: rows of LMDB under AES-256-GCM, with data keys for each tenant and a master key over all of them.

Owns: the key file beside the data file. It is written by the process that holds the store's lock, and by no other.
Threads: the store's writer encrypts; any thread decrypts.
Remembers: the master key and all data keys, for as long as the store is open.
It knows no row's content and no sub-database: the store says what is encrypted, and for which tenant.
"""

from semcache.encryption.environment import EncryptedCursor, EncryptedEnvironment, stored_row
from semcache.encryption.key_file import KEY_FILE
from semcache.encryption.key_ring import KeyRing
from semcache.encryption.master_key import MasterKey, master_keys
from semcache.encryption.rows import DAMAGED_ROW, ERASED_ROW, is_encrypted, key_id_of

__all__ = [
    "DAMAGED_ROW",
    "ERASED_ROW",
    "KEY_FILE",
    "EncryptedCursor",
    "EncryptedEnvironment",
    "KeyRing",
    "MasterKey",
    "is_encrypted",
    "key_id_of",
    "master_keys",
    "stored_row",
]
