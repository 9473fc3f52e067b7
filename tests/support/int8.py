"""Whether int8 can be tested on this machine."""

from importlib.util import find_spec

import pytest

from semcache.embedding.cpu import int8_support


def require_int8() -> None:
    """Skip the test where int8 can't run. That is no failure: no package brings the instructions."""
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed (it comes with the extra `cpu`)")
    if not int8_support():
        pytest.skip("the CPU has neither avx512_vnni nor avx_vnni, without which int8 is refused")
