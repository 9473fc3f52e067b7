"""Read which instructions for bfloat16 and int8 this machine's processor has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
_INT8_FLAGS = ("avx512_vnni", "avx_vnni")
UNCERTAIN_BF16 = frozenset({"avx512_bf16"})
"""Instructions with which bf16 may be slower than fp32, so that a trial decides: MiniLM takes 0.55 × the time of fp32
on a Zen 4, and 1.6 × on an Intel Xeon of model 207 whose AMX the hypervisor hides."""


def bf16_support(cpuinfo: Path = _CPUINFO) -> str:
    """Return the processor's fastest instruction set for bfloat16 products, or an empty string.

    With AMX, bf16 takes 0.33 × the time of fp32 (MiniLM, one thread). Without any of these instructions it is emulated
    and slower than fp32.
    """
    return _first(_BF16_FLAGS, cpuinfo)


def int8_support(cpuinfo: Path = _CPUINFO) -> str:
    """Return the instruction set for int8 dot products (VNNI), or an empty string.

    OpenVINO's dynamic quantisation needs it. With it, int8 takes 0.56 × the time of fp32 in batches of 32 and 0.52 ×
    for a single text (MiniLM, one thread, an Intel Xeon of model 207 without AMX). Without it OpenVINO would widen the
    weights at every pass, which takes twice the time of fp32.
    """
    return _first(_INT8_FLAGS, cpuinfo)


def _first(wanted: Sequence[str], cpuinfo: Path) -> str:
    """Return the first of `wanted` among the processor's flags, or an empty string."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""  # not Linux: no instruction is assumed
    flags: set[str] = set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            flags = set(value.split())
            break
    return next((flag for flag in wanted if flag in flags), "")
