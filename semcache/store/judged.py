"""Served hits with their verdicts, read from a store beside its server."""

from __future__ import annotations

from dataclasses import dataclass

import lmdb

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Entry, ServedHit
from semcache.settings import StoreSettings
from semcache.store import damage, layout, opening


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
    env, dbs = opening.open_environment(settings, readonly=True)
    hits: list[JudgedHit] = []
    without_verdict = without_entry = damaged_rows = 0
    try:
        # A snapshot keeps a server from reusing pages, so this one ends before anything is computed.
        with env.begin() as txn:
            for key, row in txn.cursor(db=dbs.served):
                try:
                    hit = damage.served_hit(key, row)
                    if not hit.verdict:
                        without_verdict += 1
                        continue
                    key_of_entry = layout.pack_id(hit.entry_id)
                    row_of_entry = txn.get(key_of_entry, db=dbs.entries)
                    if row_of_entry is None:
                        without_entry += 1
                        continue
                    hits.append(JudgedHit(hit, damage.entry(key_of_entry, row_of_entry)))
                except StoreUnusableError:
                    raise
                except StoreError:
                    damaged_rows += 1
    except lmdb.Error as error:
        raise StoreUnusableError(
            f"the store at {settings.path} can't be read ({error}).",
            hint="`semcache check` says what is wrong with it.",
        ) from error
    finally:
        env.close()
    return JudgedHits(tuple(hits), without_verdict, without_entry, damaged_rows)
