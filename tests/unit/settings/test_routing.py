"""Settings of the upstream that are refused: before the start, all at once, and by name."""

import re
from pathlib import Path

import pytest

from semcache.errors import SettingsError
from semcache.model import ApiProtocol
from semcache.settings import Fallback, TaskSettings, WeightedTarget, load_settings

TARGETS = """
[[upstream.targets]]
name = "a"
base_url = "http://a.test/v1"
[[upstream.targets]]
name = "b"
base_url = "http://b.test/v1"
"""
MINI = '[[upstream.routes]]\nalias = "mini"\ntarget = "a"\n'


def load(tmp_path: Path, text: str, targets: str = TARGETS):
    path = tmp_path / "semcache.toml"
    path.write_text(targets + text, "utf-8")
    return load_settings(path).upstream


def problems(tmp_path: Path, text: str, targets: str = TARGETS) -> str:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, targets)
    return str(caught.value)


def route(rest: str, alias: str = "big") -> str:
    return f'[[upstream.routes]]\nalias = "{alias}"\n{rest}\n'


def test_the_short_form_means_one_target(tmp_path):
    (found,) = load(tmp_path, route('target = "a"\nmodel = "m"')).routes
    assert found.destinations == (WeightedTarget(target="a", model="m"),)


def test_the_long_form(tmp_path):
    text = route(
        'task_type = "code"\ncomplexity = "high"\ndegraded = "mini"\n'
        'targets = [{target = "a", model = "x", weight = 3}, {target = "b"}]\n'
        'fallbacks = ["mini", {alias = "nano", degraded = true}]'
    )
    found = load(tmp_path, text + MINI + route('target = "b"', "nano")).routes[0]
    assert found.destinations == (
        WeightedTarget(target="a", model="x", weight=3),
        WeightedTarget(target="b", weight=1),
    )
    assert found.fallbacks == (Fallback(alias="mini"), Fallback(alias="nano", degraded=True))


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("", "route 'big' goes to no target"),
        ('task_type = "code"\ncomplexity = "x"', "route 'big', task type 'code', complexity 'x' goes to no target"),
        ('target = "c"', "route 'big' goes to unknown target 'c'"),
        ('targets = [{target = "a"}, {target = "c"}]', "route 'big' goes to unknown target 'c'"),
        ('target = "a"\ntargets = [{target = "b"}]', "both target and targets"),
        ('model = "m"\ntargets = [{target = "b"}]', "a model without a target"),
        ('targets = [{target = "a", weight = 0}, {target = "b", weight = 0}]', "none of its targets a weight above 0"),
        ('targets = [{target = "a", weight = -1}]', "greater than or equal to 0"),
        ('targets = [{target = "a"}, {target = "a", weight = 2}]', "names target 'a' with model '' twice"),
        ('target = "a"\nfallbacks = ["mini"]', "falls back to alias 'mini', which no route names"),
        ('target = "a"\nfallbacks = ["*"]', "fallbacks"),
        ('target = "a"\ndegraded = "mini"', "degrades to alias 'mini', which no route names"),
        ('target = "a"\ndegraded = "big"', "degrades to itself"),
        ('target = "a"\nfallbacks = ["big"]', "in a circle: big → big"),
    ],
)
def test_routes_that_lead_nowhere(tmp_path, rest, told):
    assert told in problems(tmp_path, route(rest))


def test_a_star_makes_no_alias_known(tmp_path):
    text = route('target = "a"\nfallbacks = ["mini"]') + route('target = "b"', "*")
    assert "falls back to alias 'mini'" in problems(tmp_path, text)


def documented(page):
    text = (Path(__file__).resolve().parents[3] / "docs" / page).read_text("utf-8")
    return re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_routes_of_the_documents_are_some(tmp_path):
    (example,) = (block for block in documented("routing.md") if "upstream.routes" in block)
    targets = "".join(
        f'[[upstream.targets]]\nname = "{name}"\nbase_url = "http://{name}.test/v1"\n'
        for name in ("openai", "azure", "anthropic")
    )
    assert len(load(tmp_path, example, targets).routes) == 4


@pytest.mark.parametrize(
    "block",
    [
        block
        for page in ("routing.md", "costs.md")
        for block in documented(page)
        if re.search(r"\[(tasks|costs)", block)
    ],
)
def test_the_other_examples_of_the_documents_load(tmp_path, block):
    path = tmp_path / "semcache.toml"
    path.write_text(block, "utf-8")
    settings = load_settings(path)
    assert settings.tasks != TaskSettings() or settings.costs.budgets


@pytest.mark.parametrize(("how", "told"), [('fallbacks = ["mini"]', "falls back"), ('degraded = "mini"', "degrades")])
def test_an_alias_for_other_calls_only_is_no_way_out(tmp_path, how, told):
    mini = route('target = "a"\ntask_type = "code"', "mini")
    assert f"{told} to alias 'mini', whose routes are for other calls only" in problems(
        tmp_path, mini + route(f'target = "b"\n{how}')
    )
    assert load(tmp_path, mini + route(f'target = "b"\ntask_type = "code"\n{how}')).routes


VERIFIED = '[tasks]\ncritical = ["code"]\nverifier = "judge"\n'


@pytest.mark.parametrize(
    "routes",
    [MINI, MINI + route('target = "a"\ntask_type = "code"', "judge"), MINI + route('target = "a"', "judges"), ""],
)
def test_a_verifier_that_nothing_routes(tmp_path, routes):
    assert "tasks.verifier 'judge'" in problems(tmp_path, routes + VERIFIED)


@pytest.mark.parametrize("routes", [route('target = "a"', "judge"), route('target = "a"', "*")])
def test_a_verifier_that_is_routed(tmp_path, routes):
    assert load(tmp_path, routes + VERIFIED).leads_anywhere("judge")


def test_a_verifier_at_the_only_target(tmp_path):
    one = '[[upstream.targets]]\nname = "a"\nbase_url = "http://a.test/v1"\n'
    assert load(tmp_path, VERIFIED, one).leads_anywhere("judge")
    assert not load(tmp_path, "", one.replace('"a"', '"b"') + one).leads_anywhere("judge")


JUDGED = '[decision.verifier]\nroute = "judge"\n'


@pytest.mark.parametrize(
    "routes",
    [MINI, MINI + route('target = "a"\ntask_type = "code"', "judge"), MINI + route('target = "a"', "judges"), ""],
)
def test_a_judge_that_nothing_routes(tmp_path, routes):
    assert "decision.verifier.route 'judge'" in problems(tmp_path, routes + JUDGED)


@pytest.mark.parametrize("routes", [route('target = "a"', "judge"), route('target = "a"', "*")])
def test_a_judge_that_is_routed(tmp_path, routes):
    assert load(tmp_path, routes + JUDGED).speaks("judge", ApiProtocol.CHAT)


def test_a_judge_whose_target_speaks_no_chat(tmp_path):
    target = '[[upstream.targets]]\nname = "a"\nbase_url = "http://a.test/v1"\nprotocols = ["messages"]\n'
    assert "no target that speaks chat" in problems(tmp_path, JUDGED, target)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("least_probability = 0.5", "least_probability"),
        ("deadline_s = 0", "deadline_s"),
        ("usd_per_s = -1", "usd_per_s"),
        ("fields = { messages = [] }", "'messages' is set by semcache itself"),
        ("fields = { since = 2026-01-01 }", "isn't JSON"),
        ("fields = { temperature = nan }", "isn't JSON"),
    ],
)
def test_a_setting_of_the_judge_that_is_none(tmp_path, line, told):
    assert told in problems(tmp_path, route('target = "a"', "judge") + JUDGED + line + "\n")


def test_two_routes_for_the_same_calls(tmp_path):
    same = 'target = "a"\ntask_type = "code"'
    assert "two routes for 'big', task type 'code'" in problems(tmp_path, route(same) + route(same))
    assert load(tmp_path, route(same) + route('target = "a"') + route(same + '\ncomplexity = "high"'))


def test_a_circle_of_fallbacks_is_named(tmp_path):
    text = "".join(
        route(f'target = "a"\nfallbacks = ["{following}"]', alias)
        for alias, following in (("start", "one"), ("one", "two"), ("two", "three"), ("three", "one"))
    )
    assert "fallbacks go round in a circle: one → two → three → one" in problems(tmp_path, text)


def test_fallbacks_that_meet_are_no_circle(tmp_path):
    text = (
        route('target = "a"\nfallbacks = ["left", "right"]')
        + route('target = "a"\nfallbacks = ["mini"]', "left")
        + route('target = "b"\nfallbacks = ["mini"]', "right")
    )
    assert len(load(tmp_path, text + MINI).routes) == 4


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("requires_key = true", "requires a key: set api_key_env or api_key_file"),
        ('requires_key = true\napi_key_env = "SEMCACHE_TEST_EMPTY"', "SEMCACHE_TEST_EMPTY is empty"),
        ('api_key_env = "SEMCACHE_TEST_UNSET"', "SEMCACHE_TEST_UNSET is not set"),
        ('requires_key = true\napi_key_env = "SEMCACHE_TEST_UNSET"', "SEMCACHE_TEST_UNSET is not set"),
    ],
)
def test_a_target_without_its_key(tmp_path, monkeypatch, fields, told):
    monkeypatch.delenv("SEMCACHE_TEST_UNSET", raising=False)
    monkeypatch.setenv("SEMCACHE_TEST_EMPTY", " ")
    text = f'[[upstream.targets]]\nname = "a"\nbase_url = "http://a.test/v1"\n{fields}\n'
    assert f"target 'a'{' requires a key' if 'empty' in told else ''}" in problems(tmp_path, "", text)
    assert told in problems(tmp_path, "", text)


def test_a_target_with_its_key(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMCACHE_TEST_KEY", "sk-1")
    text = '[[upstream.targets]]\nname = "a"\nbase_url = "http://a.test/v1"\nrequires_key = true\n'
    assert load(tmp_path, "", text + 'api_key_env = "SEMCACHE_TEST_KEY"\n')
    (tmp_path / "key").write_text("sk-2")
    assert load(tmp_path, "", text + f'api_key_file = "{tmp_path / "key"}"\n')


DEGRADED = route('target = "a"\ndegraded = "mini"') + MINI + "[upstream.degraded]\nenabled = true\n"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("error_rate_enter = 0.2\nerror_rate_leave = 0.2", "error_rate_leave 0.2 must be below error_rate_enter 0.2"),
        ("p95_enter_s = 2\np95_leave_s = 3", "p95_leave_s 3 must be below p95_enter_s 2, or the mode can't be left"),
        ("error_rate_enter = 0.2", "error_rate_enter and error_rate_leave go together"),
        ("p95_leave_s = 2", "p95_enter_s and p95_leave_s go together"),
        ("on_budget = false", "nothing can start it"),
        ("measures = []", "measures is empty"),
    ],
)
def test_a_degraded_mode_that_cant_begin_or_end(tmp_path, fields, told):
    assert told in problems(tmp_path, DEGRADED + fields)


def test_a_degraded_mode_without_a_degraded_alias(tmp_path):
    text = MINI + "[upstream.degraded]\nenabled = true\n"
    assert "no route names a degraded alias" in problems(tmp_path, text)
    assert load(tmp_path, text + 'measures = ["optional_off"]').degraded.enabled


def test_a_sound_degraded_mode(tmp_path):
    text = "error_rate_enter = 0.2\nerror_rate_leave = 0.1\np95_enter_s = 9\np95_leave_s = 3\non_budget = false"
    assert load(tmp_path, DEGRADED + text).degraded.p95_leave_s == 3


def test_a_mode_that_is_off_may_say_anything(tmp_path):
    assert not load(tmp_path, "[upstream.degraded]\nerror_rate_enter = 0.2\nmeasures = []").degraded.enabled


def test_all_problems_are_told_at_once(tmp_path):
    text = (
        route('targets = [{target = "a", weight = 0}]\nfallbacks = ["none"]\ndegraded = "nobody"')
        + route('target = "c"\nfallbacks = ["two"]', "one")
        + route('target = "a"\nfallbacks = ["one"]', "two")
        + route('target = "a"', "two")
        + "[upstream.degraded]\nenabled = true\non_budget = false\n"
    )
    told = problems(tmp_path, text)
    for part in ("weight", "'none'", "'nobody'", "'c'", "one → two → one", "two routes for 'two'", "nothing can start"):
        assert part in told
