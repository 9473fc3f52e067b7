"""Workload files: the fields of a record, and a sentence for every error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.replay.workload import label_name, load_workload


def written(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", "utf-8")
    return path


def test_a_record_says_where_it_belongs_and_when_it_came(tmp_path: Path) -> None:
    first, second, third = load_workload(
        written(
            tmp_path / "s.jsonl",
            {"prompt": "one", "namespace": "n", "task_type": "chat", "cluster": "c", "at": "2026-11-24T20:00:00Z"},
            {"prompt": "two", "template": {"id": "t", "slots": {"name": "Ada"}}, "label": 7, "at": 1795550401},
            {"prompt": "three", "answer": "yes", "at": "1795550402.5"},
        ),
        model="m",
    )
    assert (first.namespace, first.task_type, first.label, first.at_s) == ("n", "chat", "c", 1795550400.0)
    assert (second.template_id, second.slots, second.label, second.at_s) == ("t", (("name", "Ada"),), "7", 1795550401.0)
    assert (third.template_id, third.slots, third.label, third.at_s) == ("", (), "yes", 1795550402.5)
    assert label_name(tmp_path / "s.jsonl") == "cluster"


def test_a_table_of_prompts(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text('id;prompt;cluster;at\n1;"Line one\nline two; شكرا";a;0\n2;Next;;0.5\n', "utf-8")
    first, second = load_workload(file, model="m")
    assert json.loads(first.body)["messages"] == [{"role": "user", "content": "Line one\nline two; شكرا"}]
    assert (first.label, first.at_s, second.label, second.at_s) == ("a", 0.0, None, 0.5)
    assert label_name(file) == "cluster"


def test_a_stream_without_labels(tmp_path: Path) -> None:
    file = written(tmp_path / "s.txt", "one", "two")
    assert label_name(file) == ""
    assert [request.label for request in load_workload(file, model="m")] == [None, None]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:17:03.97,4808,10"], ":1 begins a trace of arrival"),
        ([{"a": "x", "b": "y", "same": 1}], ":1 begins a file of labelled pairs"),
        ([{"question1": "x", "question2": "y"}], ":1 begins a file of labelled pairs"),
        ([{"prompt": "x", "at": 2}, {"prompt": "y", "at": 1}], ":2 comes before the record above it"),
        ([{"prompt": "x", "at": 2}, {"prompt": "y"}], ":2 has no time, and other records have one"),
        ([{"prompt": "x", "at": "noon"}], ":1 has the time 'noon'"),
        ([{"prompt": "x", "at": True}], ":1 has the time 'True'"),
        ([{"prompt": "x", "at": "1" * 400}], ":1 has the time '111"),
        ([{"prompt": "x", "at": 1}, {"prompt": "x", "at": float("nan")}], ":2 has no time"),
        ([{"prompt": "x", "cluster": ["a"]}], ":1 has the label"),
        ([{"prompt": "x", "task_type": 3}], ":1 has a task_type that is no string"),
        ([{"prompt": "x", "template": {"slots": {}}}], ":1 has a template without an id"),
        ([{"prompt": "x", "template": {"id": "t", "slots": {"a": 1}}}], ":1 has a template whose slots"),
        ([{"prompt": " "}], ":1 has no prompt"),
    ],
)
def test_a_bad_stream_is_named(tmp_path: Path, rows: list[Any], problem: str) -> None:
    file = written(tmp_path / "bad.jsonl", *rows)
    with pytest.raises(InvalidRequestError) as caught:
        load_workload(file, model="m")
    assert problem in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,text_b\n1,x\n", ":2 has no prompt"),
        ('prompt\n"half a', ":2 is no row of a table"),
        ("question1,question2,is_duplicate\na,b,1\n", ":2 begins a file of labelled pairs"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023,1,2\n", ":1 begins a trace of arrival"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "bad.csv").write_text(text, "utf-8")
    with pytest.raises(InvalidRequestError, match=problem):
        load_workload(tmp_path / "bad.csv", model="m")


def test_the_shared_streams_are_read_or_refused(shared_data: Path) -> None:
    assert len(load_workload(shared_data / "prompts_sa" / "dolly_263.csv", model="m")) == 264
    assert len(load_workload(shared_data / "prompts" / "arena_hard_v0.1_question.jsonl", model="m")) == 500
    assert len(load_workload(shared_data / "traffic" / "bing_covid_us.jsonl", model="m")) == 14_313
    for name in ("code", "conv"):
        with pytest.raises(InvalidRequestError, match="without prompts"):
            load_workload(shared_data / "arrivals" / f"AzureLLMInferenceTrace_{name}.csv", model="m")
