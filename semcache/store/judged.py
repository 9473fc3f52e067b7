"""Served hits with their verdicts, read from a store beside its server."""

from __future__ import annotations

from dataclasses import dataclass

import lmdb

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Entry, ServedHit
from semcache.settings import StoreSettings
from semcache.store import layout, opening
from semcache.store.codec import decode_entry, decode_served


@dataclass(frozen=True, slots=True)
class JudgedHit:
    """A hit that a caller judged, and the entry that it was served from."""

    hit: ServedHit
    entry: Entry


@dataclass(frozen=True, slots=True)
class JudgedHits:
    """The served hits of a store, by what is known of them.

    Attributes:
        hits: hits with a verdict and an entry.
        without_verdict: how many hits no caller has judged.
        without_entry: how many hits were judged and their entry is gone.
        damaged: how many rows can't be read; `semcache check` names them.
    """

    hits: tuple[JudgedHit, ...]
    without_verdict: int
    without_entry: int
    damaged: int


def read_judged(settings: StoreSettings) -> JudgedHits:
    """Return the judged hits of the store at `settings.path`; change nothing. It may run beside a server.

    Raises:
        StoreUnusableError: there is none, a newer semcache wrote it, or it can't be read.
    """
    env, dbs = opening.open_environment(settings.path, settings.map_size_bytes, readonly=True)
    hits: list[JudgedHit] = []
    without_verdict = without_entry = damaged = 0
    try:
        # A snapshot keeps a server from reusing pages, so this one ends before anything is computed.
        with env.begin() as txn:
            for _, row in txn.cursor(db=dbs.served):
                try:
                    hit = decode_served(bytes(row))
                    if not hit.verdict:
                        without_verdict += 1
                        continue
                    row_of_entry = txn.get(layout.pack_id(hit.entry_id), db=dbs.entries)
                    if row_of_entry is None:
                        without_entry += 1
                        continue
                    hits.append(JudgedHit(hit, decode_entry(hit.entry_id, bytes(row_of_entry))))
                except StoreUnusableError:
                    raise
                except StoreError:
                    damaged += 1
    except lmdb.Error as error:
        raise StoreUnusableError(
            f"the store at {settings.path} can't be read ({error}).",
            hint="`semcache check` says what is wrong with it.",
        ) from error
    finally:
        env.close()
    return JudgedHits(tuple(hits), without_verdict, without_entry, damaged)
