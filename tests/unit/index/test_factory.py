"""Which libraries and devices the index uses, and the error for each wrong installation."""

import importlib.metadata
import sys
import time
from types import ModuleType, SimpleNamespace

import faiss
import numpy as np
import pytest
import structlog

from semcache.errors import StartError
from semcache.index import open_index
from semcache.index.bfloat16 import open_product
from semcache.index.faiss_library import installed_faiss
from semcache.settings import IndexSettings


def load(_partition):
    return np.empty(0, np.int64), np.empty((0, 4), np.float32)


def installed(monkeypatch, *names):
    def version(name):
        if name in names:
            return "1.15.1"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


class Torch(ModuleType):
    """torch on a machine with one GPU, or with none."""

    __version__ = "2.13.0"

    def __init__(self, gpu: str = "") -> None:
        super().__init__("torch")
        self.cuda = SimpleNamespace(is_available=lambda: bool(gpu), get_device_name=lambda: gpu)


@pytest.fixture(autouse=True)
def torch_without_a_gpu(monkeypatch):
    """No test here imports the real torch, whichever machine it runs on."""
    monkeypatch.setitem(sys.modules, "torch", Torch())


def faiss_sees(monkeypatch, gpus: int) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: gpus, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatConfig", SimpleNamespace, raising=False)


async def opened_line(**settings) -> dict:
    """The log line of an index that is opened and closed again."""
    with structlog.testing.capture_logs() as logs:
        await open_index(IndexSettings(flat_products="float32", **settings), 4, load).close()
    return logs[0]


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
    assert (logs[0]["event"], logs[0]["device"], logs[0]["why"]) == ("index.opened", "cpu", "faiss sees 0 GPUs")
    assert faiss.cvar.distance_compute_blas_threshold == 3072
    await index.close()


async def test_faiss_on_a_gpu_comes_before_torch(monkeypatch):
    faiss_sees(monkeypatch, 2)
    monkeypatch.setitem(sys.modules, "torch", Torch("NVIDIA H200"))
    line = await opened_line()
    assert (line["device"], line["library"], line["why"]) == ("gpu", installed_faiss(), "faiss sees 2 GPUs")


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"gpu_library": "torch"}])
async def test_torch_searches_on_a_gpu_that_faiss_does_not_see(monkeypatch, settings):
    faiss_sees(monkeypatch, 0)
    monkeypatch.setitem(sys.modules, "torch", Torch("NVIDIA H200"))
    line = await opened_line(**settings)
    assert (line["device"], line["library"]) == ("gpu", "torch 2.13.0")


async def test_torch_can_be_preferred_to_faiss(monkeypatch):
    faiss_sees(monkeypatch, 1)
    monkeypatch.setitem(sys.modules, "torch", Torch("NVIDIA H200"))
    line = await opened_line(gpu_library="torch")
    assert (line["library"], line["why"]) == ("torch 2.13.0", "torch 2.13.0 sees NVIDIA H200")


async def test_with_torch_on_a_gpu_faiss_need_not_be_installed(monkeypatch):
    installed(monkeypatch)
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "torch", Torch("NVIDIA H200"))
    line = await opened_line(device="gpu")
    assert line["library"] == "torch 2.13.0"
    assert line["faiss"] == "FAISS is not installed. Only IVF on a CPU needs it."


@pytest.mark.parametrize("library", ["auto", "faiss", "torch"])
def test_without_a_gpu_the_error_names_who_was_asked_and_the_way_out(monkeypatch, library):
    faiss_sees(monkeypatch, 0)
    with pytest.raises(StartError, match=r"index\.device is gpu: .*sees .*index\.device to auto or cpu") as caught:
        open_index(IndexSettings(device="gpu", gpu_library=library), 4, load)
    assert ("faiss sees 0 GPUs" in str(caught.value)) == (library != "torch")
    assert ("torch 2.13.0 sees no GPU" in str(caught.value)) == (library != "faiss")


async def test_the_cpu_can_be_asked_for_where_there_is_a_gpu(monkeypatch):
    faiss_sees(monkeypatch, 1)
    line = await opened_line(device="cpu")
    assert (line["device"], line["why"]) == ("cpu", "as set")


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
