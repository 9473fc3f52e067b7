"""The seal at the end of rows that no table of columns writes: vectors, accesses, counters, lists of names.

A sealed row is `payload | crc32 of key and payload | mark`. Rows of a store of format 1 or 2 are bare payloads. Their
lengths, or their last bytes, tell them from sealed ones.
"""

from __future__ import annotations

import struct
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_SEAL = struct.Struct("<IB")
SEAL_BYTES = _SEAL.size
_MARK = 3
"""The last byte of a sealed row: the format of the store that first had them."""
_UNIT_TOLERANCE = 0.01
"""How far the squared length of a unit vector may lie from 1. Embedders are held to 0.002, and vectors of callers are
normalized before they are stored."""


def sealed_row(key: bytes, payload: bytes) -> bytes:
    """Return the row of a payload. The seal covers the key, so that a row that damage moved is noticed."""
    return payload + _SEAL.pack(crc32(payload, crc32(key)), _MARK)


def payload_of(key: bytes, row: bytes, *, bare: bool) -> bytes | None:
    """Return a row's payload, or None when the row is damaged; with `bare`, the row is a payload of before."""
    if bare:
        return row
    return row[:-SEAL_BYTES] if is_whole(key, row) else None


def is_whole(key: bytes, row: bytes | memoryview) -> bool:
    """Return whether the seal at the end of a row fits its key and payload."""
    if len(row) < SEAL_BYTES:
        return False
    checksum, mark = _SEAL.unpack_from(row, len(row) - SEAL_BYTES)
    return bool(mark == _MARK and checksum == crc32(memoryview(row)[:-SEAL_BYTES], crc32(key)))


def payload_bytes(row_bytes: int) -> int:
    """Return how many bytes the float32s take in a vector's row of a length; 0 for a length that no vector has.

    The length tells a bare row from a sealed one: float32s take a multiple of four bytes, and a seal takes five.
    """
    if row_bytes % 4 == 0:
        return row_bytes
    return row_bytes - SEAL_BYTES if row_bytes % 4 == SEAL_BYTES % 4 and row_bytes > SEAL_BYTES else 0


def is_whole_vector(key: bytes, row: bytes | memoryview) -> bool:
    """Return whether a vector's row is bare, or whole by its seal."""
    return len(row) % 4 == 0 or is_whole(key, row)


def are_units(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each vector, shape (n, dimension), whether its length is 1; (n,). NaN and infinity are not."""
    with np.errstate(over="ignore", invalid="ignore"):
        near: NDArray[np.bool_] = np.abs(np.vecdot(vectors, vectors) - 1.0) < _UNIT_TOLERANCE
    return near


def is_vector(key: bytes, row: bytes) -> bool:
    """Return whether a row is a whole unit vector."""
    size = payload_bytes(len(row))
    if size == 0 or not is_whole_vector(key, row):
        return False
    return bool(are_units(np.frombuffer(row, np.float32, size // 4)[None, :])[0])


def rounded(key: bytes, row: bytes) -> bytes:
    """Return the vector of a row as float16 bytes; empty for a row that is no whole unit vector."""
    if not is_vector(key, row):
        return b""
    return np.frombuffer(row, np.float32, payload_bytes(len(row)) // 4).astype(np.float16).tobytes()
