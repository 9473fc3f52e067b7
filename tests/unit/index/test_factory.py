"""Which FAISS is there, which device it gets, and how a wrong installation is told."""

import importlib.metadata
import sys
import time

import faiss
import numpy as np
import pytest
import structlog

from semcache.errors import StartError
from semcache.index import open_index
from semcache.index.bfloat16 import open_product
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


async def test_float32_products_can_be_asked_for():
    with structlog.testing.capture_logs() as logs:
        index = open_index(IndexSettings(flat_products="float32"), 384, load)
    assert (logs[0]["products"], logs[0]["products_why"]) == ("float32", "float32, as set")
    await index.close()


def slow(rows, queries):
    time.sleep(0.2)
    return rows @ queries.T


def test_rounded_products_are_taken_where_they_are_faster():
    product, why = open_product(64, 1, slow)
    assert product is not None
    assert why.startswith("bfloat16 products are ")


def test_rounded_products_that_are_no_faster_are_left():
    kept = {}

    def remembered(rows, queries):
        if "products" not in kept:
            kept["products"] = rows @ queries.T
        return kept["products"]

    product, why = open_product(64, 1, remembered)
    assert product is None
    assert "× as fast as float32" in why


def test_rounded_products_that_are_wrong_are_left():
    product, why = open_product(64, 1, lambda rows, queries: rows @ queries.T + 0.001)
    assert product is None
    assert "are off by 0.001" in why


def test_without_openvino_products_are_float32(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert open_product(64, 1, slow) == (None, "OpenVINO isn't installed")
