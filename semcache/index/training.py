"""Trains IVF indexes on a thread of their own and fills them between searches, one at a time each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.index.partition import Partition
from semcache.index.residents import Residents
from semcache.index.tuning import IndexTuning

if TYPE_CHECKING:  # imports FAISS, which a machine without IVF needn't have
    from semcache.index.strategies.ivf_codes import IvfCodes

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """What the training thread made; `codes` is None where it failed."""

    key: bytes
    partition: Partition
    codes: IvfCodes | None


class Training:
    """The way of a large partition from exhaustive search to IVF. Used by the worker; `_train` alone runs elsewhere.

    1. `request` notes a partition that has grown beyond the limit.
    2. `start_next` draws a sample and starts the training thread, where none runs: a training takes a core for seconds.
    3. The thread hands a `Trained` to `report`; the worker passes it to `take`.
    4. `fill_next` adds a few vectors to the new index after each batch of searches, until it holds all.

    A partition that was evicted meanwhile, and perhaps loaded again, is another object, and what was made for the old
    object is dropped.

    Args:
        residents: the partitions in memory.
        report: hands what was trained to the worker; called from the training thread.
        threads: of one training.
        monotonic: seconds, for the log.
        tuning: the numbers that aren't settings.
    """

    def __init__(
        self,
        residents: Residents,
        report: Callable[[Trained], None],
        *,
        threads: int,
        monotonic: Callable[[], float],
        tuning: IndexTuning,
    ) -> None:
        self._residents = residents
        self._report = report
        self._threads = threads
        self._monotonic = monotonic
        self._tuning = tuning
        self._waiting: OrderedDict[bytes, Partition] = OrderedDict()
        self._filling: OrderedDict[bytes, Partition] = OrderedDict()
        self._thread: threading.Thread | None = None

    @property
    def filling(self) -> bool:
        """Whether an index waits for its next vectors."""
        return bool(self._filling)

    def request(self, key: bytes, partition: Partition) -> None:
        """Note the partition for training where it wants it."""
        if partition.wants_training:
            self._waiting[key] = partition

    def start_next(self) -> None:
        """Start training for one partition that still wants it, unless a training runs."""
        while self._thread is None and self._waiting:
            key, partition = self._waiting.popitem(last=False)
            if self._residents.get(key) is not partition or not partition.wants_training:
                continue
            from semcache.index.strategies.ivf_codes import samples_for

            partition.training = True
            sample = partition.sample(samples_for(len(partition), self._tuning))
            self._thread = threading.Thread(
                target=self._train,
                args=(key, partition, sample, len(partition)),
                name="semcache-index-training",
                daemon=True,
            )
            self._thread.start()

    def take(self, trained: Trained) -> None:
        """Begin to fill a trained index.

        After a failed training `partition.training` stays set, so that the partition isn't tried again and again.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if trained.codes is not None and self._residents.get(trained.key) is trained.partition:
            trained.partition.begin_filling(trained.codes)
            self._filling[trained.key] = trained.partition

    def fill_next(self) -> bool:
        """Fill the oldest unfinished index a little; return whether there was one."""
        if not self._filling:
            return False
        key, partition = next(iter(self._filling.items()))
        if self._residents.get(key) is not partition:
            del self._filling[key]
            return True
        try:
            partition.fill(self._tuning.fill_vectors)
        except Exception:  # noqa: BLE001 - the worker outlives any partition
            _log.exception("index.filling_failed", effect="the partition is loaded again when next searched")
            self._residents.drop(key)
            return True
        if not partition.filling:
            del self._filling[key]
            self._residents.count(partition)
            self.request(key, partition)
            _log.info("index.swapped_in", kind=partition.kind, vectors=len(partition))
        return True

    def close(self) -> None:
        """Wait a few seconds for a running training, and drop the rest.

        A training can't be interrupted. Its thread is a daemon, which ends with the process.
        """
        if self._thread is not None:
            self._thread.join(self._tuning.training_patience_s)
        self._waiting.clear()
        self._filling.clear()

    def _train(self, key: bytes, partition: Partition, sample: NDArray[np.float32], count: int) -> None:
        """Train for `count` vectors, on the training thread; touches neither the partition nor the residents."""
        from semcache.index.strategies import ivf_codes

        started_s = self._monotonic()
        codes = None
        try:
            codes = ivf_codes.train(sample, count, threads=self._threads, tuning=self._tuning)
        except Exception:  # noqa: BLE001 - without this index the partition is searched flat
            _log.exception("index.training_failed", vectors=count, effect="the partition is searched flat")
        else:
            _log.info("index.trained", vectors=count, seconds=round(self._monotonic() - started_s, 2))
        self._report(Trained(key, partition, codes))
