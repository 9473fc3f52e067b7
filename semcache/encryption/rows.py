"""The layout of an encrypted row: `ciphertext | tag 16 | nonce 12 | id of the data key 4 | mark`.

The mark tells an encrypted row from a row in clear: no row in clear ends with it. It begins a character in UTF-8, so no
text ends with it; as the last byte of a float it stands for a number that no unit vector has; a seal ends with a 3.
"""

from __future__ import annotations

MARK = 0xE1
KEY_ID_BYTES = 4
NONCE_BYTES = 12
"""96 bits, the length for which AES-GCM is defined without another hash (NIST SP 800-38D, 5.2.1.1)."""
TAG_BYTES = 16
KEY_ID_AT = -1 - KEY_ID_BYTES
NONCE_AT = KEY_ID_AT - NONCE_BYTES
OVERHEAD_BYTES = TAG_BYTES - NONCE_AT
"""How many bytes an encrypted row is longer than the row in clear."""

DAMAGED_ROW = b""
"""What is read instead of a row that doesn't authenticate. Every decoder takes it for damage."""
ERASED_ROW = bytes([MARK])
"""What is read instead of a row whose data key was destroyed. Every decoder takes it for damage."""


def is_encrypted(row: bytes | memoryview) -> bool:
    """Return whether a stored row is encrypted."""
    return len(row) >= OVERHEAD_BYTES and row[-1] == MARK


def key_id_of(row: bytes | memoryview) -> bytes:
    """Return the id of the data key of an encrypted row."""
    return bytes(row[KEY_ID_AT:-1])
