"""Which backend a machine gets, and which settings are refused."""

from dataclasses import replace

import pytest

from semcache.embedding.cpu import bf16_support, int8_support
from semcache.embedding.factory import Machine, choose, without_large_trials
from semcache.errors import StartError
from semcache.settings import EmbeddingSettings

PLAIN = Machine(openvino=True, torch=True, cuda_precision="", cpu_bf16="")
BF16 = Machine(openvino=True, torch=True, cuda_precision="", cpu_bf16="amx_bf16")
GPU = Machine(openvino=True, torch=True, cuda_precision="bf16", cpu_bf16="")
TORCH = Machine(openvino=False, torch=True, cuda_precision="", cpu_bf16="")
VNNI = replace(PLAIN, cpu_int8="avx512_vnni")


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
        ({"precision": "int8"}, VNNI, ("openvino", "cpu", "int8")),
        ({"precision": "int8"}, replace(BF16, cpu_int8="avx512_vnni"), ("openvino", "cpu", "int8")),
        ({"precision": "int8", "device": "cpu"}, replace(GPU, cpu_int8="avx_vnni"), ("openvino", "cpu", "int8")),
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
        ({"precision": "int8"}, PLAIN, "int8 and the CPU has neither avx512_vnni nor avx_vnni"),
        ({"precision": "int8"}, replace(TORCH, cpu_int8="avx_vnni"), "int8, which OpenVINO alone computes"),
        ({"precision": "int8", "backend": "torch"}, VNNI, "int8, which OpenVINO alone computes"),
        ({"precision": "int8"}, replace(GPU, cpu_int8="avx_vnni"), "int8 and the model runs on a GPU"),
        ({}, Machine(openvino=False, torch=False, cuda_precision="", cpu_bf16=""), "neither OpenVINO nor torch"),
    ],
)
def test_what_the_machine_does_not_have_is_refused_with_a_way_out(settings, machine, words):
    with pytest.raises(StartError, match=words) as refused:
        choose(EmbeddingSettings(**settings), machine)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("settings", "machine", "expected"),
    [
        ({}, PLAIN, ("fp32",)),
        ({}, BF16, ("bf16",)),
        ({}, replace(BF16, cpu_int8="avx512_vnni"), ("bf16",)),
        ({}, replace(BF16, cpu_bf16="avx512_bf16"), ("bf16", "fp32")),
        ({}, replace(VNNI, cpu_bf16="avx512_bf16"), ("bf16", "fp32", "int8")),
        ({}, VNNI, ("fp32", "int8")),
        ({"backend": "torch"}, replace(VNNI, cpu_bf16="avx512_bf16"), ("bf16", "fp32")),
        ({"backend": "torch"}, VNNI, ("fp32",)),
        ({"precision": "bf16"}, replace(VNNI, cpu_bf16="avx512_bf16"), ("bf16",)),
        ({"precision": "int8"}, VNNI, ("int8",)),
        ({}, replace(GPU, cpu_int8="avx512_vnni"), ("bf16",)),
    ],
)
def test_what_the_flags_leave_open_is_tried(settings, machine, expected):
    choice = choose(EmbeddingSettings(**settings), machine)
    assert (choice.precision, *choice.rivals) == expected


def test_a_large_model_takes_what_the_flags_speak_for_and_says_so():
    choice = choose(EmbeddingSettings(), replace(VNNI, cpu_bf16="avx512_bf16"))
    assert without_large_trials(choice, 90_000_000) is choice
    large = without_large_trials(choice, 1_300_000_000)
    assert (large.precision, large.rivals) == ("bf16", ())
    assert large.why.endswith("the model is too large to try fp32 and int8 at the start")


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


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ("fpu avx2 avx_vnni avx512_bf16 avx512_vnni", "avx512_vnni"),
        ("fpu avx2 avx_vnni", "avx_vnni"),
        ("fpu avx2 avx512f avx512_vnni_not", ""),
    ],
)
def test_the_processors_int8_flags_are_read(tmp_path, flags, found):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: an avx512_vnni name\nflags\t\t: {flags}\n")
    assert int8_support(cpuinfo) == found
    assert not int8_support(tmp_path / "missing")
