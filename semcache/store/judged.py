"""Served hits with their verdicts, read from a store beside its server: what callers said was right or wrong."""

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
    """What a store remembers of verdicts.

    Attributes:
        hits: with a verdict and an entry.
        without_verdict: nobody judged them.
        without_entry: judged, and their entry is gone.
        damaged: rows that can't be read; `semcache check` names them.
    """

    hits: tuple[JudgedHit, ...]
    without_verdict: int
    without_entry: int
    damaged: int


def read_judged(settings: StoreSettings) -> JudgedHits:
    """The judged hits of the store at `settings.path`; changes nothing, and may run beside a server.

    Raises:
        StoreUnusableError: there is none, a newer semcache wrote it, or it can't be read.
    """
    env, dbs = opening.open_environment(settings.path, settings.map_size_bytes, readonly=True)
    hits: list[JudgedHit] = []
    without_verdict = without_entry = damaged = 0
    try:
        # Snapshots hold back the pages that a server would reuse: this one ends before anything is computed.
        with env.begin() as txn:
            for _, row in txn.cursor(db=dbs.served):
                try:
                    hit = decode_served(bytes(row))
                    if not hit.verdict:
                        without_verdict += 1
                        continue
                    found = txn.get(layout.pack_id(hit.entry_id), db=dbs.entries)
                    if found is None:
                        without_entry += 1
                        continue
                    hits.append(JudgedHit(hit, decode_entry(hit.entry_id, bytes(found))))
                except StoreUnusableError:
                    raise
                except StoreError:
                    damaged += 1
    except lmdb.Error as error:
        raise StoreUnusableError(
            f"the store at {settings.path} can't be read ({error}).", hint="`semcache check` audits it."
        ) from error
    finally:
        env.close()
    return JudgedHits(tuple(hits), without_verdict, without_entry, damaged)
