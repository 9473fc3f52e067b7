"""The caller names the task type; else the first matching rule does, else the nearest exemplar."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from semcache.model import NO_TASK, Cacheability, KeyedRequest, Request, Task, Tier
from semcache.request.tasks import Tasks, exemplar_texts
from semcache.settings import TaskSettings

SETTINGS = TaskSettings.model_validate(
    {
        "rules": [
            {"task_type": "code", "pattern": r"```|\bdef \w+\("},
            {"task_type": "reasoning", "pattern": r"\bstep by step\b"},
            {"task_type": "chat", "pattern": r"\bdef\b"},
        ],
        "exemplars": [
            {"task_type": "support", "texts": ["my parcel is late", "I can't log in"]},
            {"task_type": "search", "texts": ["who won the cup"]},
        ],
        "exemplar_similarity": 0.6,
        "complexity": [
            {"complexity": "high", "min_chars": 1000},
            {"complexity": "high", "pattern": r"\bprove\b", "task_types": ["reasoning"]},
            {"complexity": "middle", "task_types": ["code"]},
            {"complexity": "low"},
        ],
    }
)
VECTORS = np.eye(3, dtype=np.float32)


def keyed(text, *, task_type="", chars=10):
    return KeyedRequest(
        request=Request("acme", b"{}", task_type=task_type),
        alias="m",
        exact_key=b"",
        partition=b"",
        older_partitions=(),
        text=text,
        cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
        prompt_chars=chars,
        output_limit=None,
        include_usage=False,
    )


TASKS = Tasks(SETTINGS, VECTORS)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (keyed("DEF f(x): mend it"), Task("code", "rule", "middle", "task_type")),
        (keyed("tell me the def of it"), Task("chat", "rule", "low", "default")),
        (keyed("think Step by Step"), Task("reasoning", "rule", "low", "default")),
        (keyed("think step by step and prove it"), Task("reasoning", "rule", "high", "pattern")),
        (keyed("prove it"), Task("", "", "low", "default")),
        (keyed("step by step", chars=1000), Task("reasoning", "rule", "high", "length")),
        (keyed("step by step", task_type="code"), Task("code", "request", "middle", "task_type")),
        (keyed("", task_type="of my own"), Task("of my own", "request", "low", "default")),
    ],
)
def test_rules(request_, wanted):
    assert TASKS.by_rule(request_) == wanted


@pytest.mark.parametrize(
    ("vector", "wanted"),
    [
        ((0, 1, 0), Task("support", "exemplar", "low", "default")),
        ((0.6, 0, 0.8), Task("search", "exemplar", "low", "default")),
        ((0.59, 0, -0.81), NO_TASK),
    ],
)
def test_the_nearest_exemplar_names_the_task_if_it_is_near_enough(vector, wanted):
    assert TASKS.by_exemplar(keyed("hm"), np.array(vector, dtype=np.float32)) == wanted


def test_an_exemplars_task_type_decides_the_complexity_again():
    settings = SETTINGS.model_copy(
        update={
            "complexity": TaskSettings.model_validate(
                {"complexity": [{"complexity": "x", "task_types": ["search"]}]}
            ).complexity
        }
    )
    tasks = Tasks(settings, VECTORS)
    request_ = replace(keyed("hm"), task=tasks.by_rule(keyed("hm")))
    assert request_.task == NO_TASK
    assert tasks.by_exemplar(request_, VECTORS[2]) == Task("search", "exemplar", "x", "task_type")


def test_without_rules_the_task_is_unknown():
    tasks = Tasks(TaskSettings())
    assert tasks.by_rule(keyed("def f(): pass")) == NO_TASK
    assert tasks.by_exemplar(keyed("hm"), VECTORS[0]) == NO_TASK
    assert not tasks.by_exemplars
    assert TASKS.by_exemplars


def test_exemplar_texts_are_in_the_order_of_the_settings():
    assert exemplar_texts(SETTINGS) == ["my parcel is late", "I can't log in", "who won the cup"]


def test_all_problems_of_the_settings_are_reported_together():
    with pytest.raises(ValidationError) as caught:
        TaskSettings.model_validate(
            {
                "types": ["code"],
                "rules": [{"task_type": "poetry", "pattern": "rhyme"}],
                "exemplars": [{"task_type": "chat", "texts": ["hello"]}],
                "critical": ["support"],
            }
        )
    message = str(caught.value)
    for problem in (
        "rules name the unknown task type 'poetry'",
        "exemplars name the unknown task type 'chat'",
        "critical name the unknown task type 'support'",
        "critical needs a verifier",
    ):
        assert problem in message


@pytest.mark.parametrize(
    "bad",
    [
        {"rules": [{"task_type": "code", "pattern": "("}]},
        {"exemplars": [{"task_type": "code", "texts": []}]},
        {"exemplars": [{"task_type": "code", "texts": [""]}]},
        {"complexity": [{"complexity": "high", "min_chars": 0}]},
        {"complexity": [{}]},
        {"exemplar_similarity": 2},
    ],
)
def test_contradictory_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        TaskSettings.model_validate(bad)
