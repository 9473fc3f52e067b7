"""Which FAISS is there, which device it gets, and how a wrong installation is told."""

import importlib.metadata
import sys

import faiss
import numpy as np
import pytest
import structlog

from semcache.errors import StartError
from semcache.index import open_index
from semcache.index.factory import installed_faiss
from semcache.settings import IndexSettings


def load(_partition):
    return np.empty(0, np.int64), np.empty((0, 4), np.float32)


def installed(monkeypatch, *names):
    def version(name):
        if name in names:
            return "1.15.1"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_one_distribution_is_named(monkeypatch):
    installed(monkeypatch, "faiss-gpu")
    assert installed_faiss() == "faiss-gpu 1.15.1"


def test_a_missing_faiss_names_the_extras(monkeypatch):
    installed(monkeypatch)
    with pytest.raises(StartError, match=r"not installed.*semcache-server\[cpu\].*semcache-server\[gpu\]"):
        open_index(IndexSettings(), 4, load)


def test_both_at_once_are_refused(monkeypatch):
    installed(monkeypatch, "faiss-cpu", "faiss-gpu")
    with pytest.raises(StartError, match="overwrite each other"):
        open_index(IndexSettings(), 4, load)


def test_a_faiss_that_can_not_be_imported_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(StartError, match="can't be imported"):
        open_index(IndexSettings(), 4, load)


def test_a_gpu_that_is_not_there_can_not_be_asked_for(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    with pytest.raises(StartError, match="sees no GPU"):
        open_index(IndexSettings(device="gpu"), 4, load)


async def test_the_device_and_the_reason_are_logged_and_blas_is_reached(monkeypatch):
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    with structlog.testing.capture_logs() as logs:
        index = open_index(IndexSettings(), 384, load)
    assert (logs[0]["event"], logs[0]["device"], logs[0]["why"]) == ("index_open", "cpu", "faiss sees 0 GPUs")
    assert faiss.cvar.distance_compute_blas_threshold == 3072
    await index.close()
