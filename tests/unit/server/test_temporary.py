"""A temporary server uses an operator's thresholds and limits, and nothing that costs the operator money."""

from semcache.server.temporary import temporary_settings
from semcache.settings import DecisionSettings, JudgeSettings, load_settings


def test_it_keeps_the_decision_and_asks_no_judge(tmp_path):
    decision = {"threshold": 0.9, "guards": ["numbers"], "verifier": {"route": "judge"}}
    operator = load_settings(None, {"decision": decision})
    settings = temporary_settings(operator, tmp_path)

    assert (settings.decision.threshold, settings.decision.guards) == (0.9, ("numbers",))
    assert settings.decision.verifier == JudgeSettings()


def test_neither_does_a_decision_that_replaces_the_operators(tmp_path):
    own = DecisionSettings(threshold=0.8, verifier=JudgeSettings(route="judge"))
    settings = temporary_settings(load_settings(), tmp_path, decision=own)

    assert settings.decision == DecisionSettings(threshold=0.8)
