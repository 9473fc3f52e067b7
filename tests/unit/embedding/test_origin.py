"""A threshold from another model, adapter, runtime or precision is refused in a sentence that names the difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semcache.embedding.origin import check_tuned_for, origin_of
from semcache.errors import SettingsError
from semcache.model.snapshot import EmbedderStats
from semcache.settings import DecisionSettings
from semcache.testing.serving import serving

STATS = EmbedderStats("mini lm", "2c29d9823dee" * 5, "openvino", "cpu", "fp32", 384)


def test_an_origin_names_model_weights_runtime_and_precision() -> None:
    assert origin_of(STATS) == "mini-lm 2c29d9823dee openvino fp32"
    assert origin_of(EmbedderStats()) == "- - - -"


def test_the_same_origin_and_none_are_accepted() -> None:
    check_tuned_for(DecisionSettings(tuned_for=origin_of(STATS)), STATS)
    check_tuned_for(DecisionSettings(), STATS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "other"}, "the model is mini-lm and not other"),
        ({"fingerprint": "ff" * 32}, "the weights or the adapter is 2c29d9823dee and not ffffffffffff"),
        ({"backend": "torch"}, "the runtime is openvino and not torch"),
        ({"precision": "int8"}, "the precision is fp32 and not int8"),
    ],
)
def test_another_origin_is_refused(changes: dict[str, str], expected: str) -> None:
    tuned_for = origin_of(replace(STATS, **changes))
    with pytest.raises(SettingsError, match=expected) as caught:
        check_tuned_for(DecisionSettings(tuned_for=tuned_for), STATS)
    assert "decision.tuned_for" in str(caught.value)
    assert "un `semcache tune` here" in str(caught.value)
    assert ('Set embedding.precision = "int8"' in str(caught.value)) == ("precision" in changes)


def test_an_origin_of_another_form_is_refused_too() -> None:
    with pytest.raises(SettingsError, match="here it is 'mini-lm 2c29d9823dee openvino fp32'"):
        check_tuned_for(DecisionSettings(tuned_for="something"), STATS)


async def test_a_server_does_not_start_with_another_origins_threshold() -> None:
    with pytest.raises(SettingsError, match="the threshold was tuned for 'a b c d'"):
        async with serving({"decision": {"tuned_for": "a b c d"}}):
            pass
