"""Which backend a machine gets, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from semcache.embedding.cpu import bf16_support
from semcache.embedding.factory import Choice, Machine, _open_faster, choose
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings

PLAIN = Machine(openvino=True, torch=True, cuda_precision="", cpu_bf16="")
BF16 = Machine(openvino=True, torch=True, cuda_precision="", cpu_bf16="amx_bf16")
GPU = Machine(openvino=True, torch=True, cuda_precision="bf16", cpu_bf16="")
TORCH = Machine(openvino=False, torch=True, cuda_precision="", cpu_bf16="")


@pytest.mark.parametrize(
    ("settings", "machine", "expected"),
    [
        ({}, PLAIN, ("openvino", "cpu", "fp32")),
        ({}, BF16, ("openvino", "cpu", "bf16")),
        ({}, GPU, ("torch", "cuda", "bf16")),
        ({}, TORCH, ("torch", "cpu", "fp32")),
        ({"precision": "fp16"}, GPU, ("torch", "cuda", "fp16")),
        ({"device": "cpu"}, GPU, ("openvino", "cpu", "fp32")),
        ({"backend": "openvino"}, GPU, ("openvino", "cpu", "fp32")),
        ({"backend": "torch"}, BF16, ("torch", "cpu", "bf16")),
        ({"precision": "fp32"}, BF16, ("openvino", "cpu", "fp32")),
    ],
)
def test_the_choice(settings, machine, expected):
    choice = choose(EmbeddingSettings(**settings), machine)
    assert (choice.backend, choice.device, choice.precision) == expected


def test_the_reason_names_what_decided():
    assert "amx_bf16" in choose(EmbeddingSettings(), BF16).why
    assert "no bf16 instructions" in choose(EmbeddingSettings(), PLAIN).why
    assert "GPU" in choose(EmbeddingSettings(), GPU).why


@pytest.mark.parametrize(
    ("settings", "machine", "words"),
    [
        ({"device": "cuda"}, PLAIN, "torch sees no GPU"),
        ({"backend": "openvino", "device": "cuda"}, GPU, "openvino runs on a CPU"),
        ({"backend": "openvino"}, TORCH, "OpenVINO is not installed"),
        ({"precision": "fp16"}, PLAIN, "fp16 and the model runs on a CPU"),
        ({}, Machine(openvino=False, torch=False, cuda_precision="", cpu_bf16=""), "neither OpenVINO nor torch"),
    ],
)
def test_what_the_machine_does_not_have_is_refused_with_a_way_out(settings, machine, words):
    with pytest.raises(StartError, match=words) as refused:
        choose(EmbeddingSettings(**settings), machine)
    assert refused.value.hint


class Timed:
    """A backend whose pass takes so long, on a clock of its own."""

    def __init__(self, clock: list[float], takes_s: float) -> None:
        self.clock, self.takes_s, self.closed = clock, takes_s, False

    def forward(self, batch):
        self.clock[0] += self.takes_s
        return np.zeros((len(batch), 1), np.float32)

    def describe(self):
        return {}

    def close(self):
        self.closed = True


@pytest.mark.parametrize(("bf16_s", "fp32_s", "faster"), [(0.004, 0.007, "bf16"), (0.007, 0.004, "fp32")])
def test_where_the_processor_leaves_it_open_the_faster_precision_is_measured(bf16_s, fp32_s, faster):
    choice = choose(EmbeddingSettings(), replace(BF16, cpu_bf16="avx512_bf16"))
    assert (choice.precision, choice.rival) == ("bf16", "fp32")
    clock = [0.0]
    backends = {"bf16": Timed(clock, bf16_s), "fp32": Timed(clock, fp32_s)}
    chosen, backend = _open_faster(choice, lambda one: backends[one.precision], lambda: clock[0])
    assert chosen.precision == faster
    assert backend is backends[faster]
    assert [name for name, one in backends.items() if one.closed] == [name for name in backends if name != faster]
    assert "measured, bf16" in chosen.why


def test_a_precision_that_is_set_or_certain_is_not_measured():
    assert not choose(EmbeddingSettings(precision="bf16"), replace(BF16, cpu_bf16="avx512_bf16")).rival
    assert not choose(EmbeddingSettings(), BF16).rival
    backend = Timed([0.0], 0.001)
    assert _open_faster(Choice("openvino", "cpu", "bf16", "why"), lambda _: backend, lambda: 0.0)[1] is backend


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu avx512f avx512_bf16", "avx512_bf16"),
        ("avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("fpu avx2 avx512f", ""),
    ],
)
def test_the_processors_flags_are_read(tmp_path, flags, found):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: a bf16 name\nflags\t\t: {flags}\n")
    assert bf16_support(cpuinfo) == found
    assert not bf16_support(tmp_path / "missing")
