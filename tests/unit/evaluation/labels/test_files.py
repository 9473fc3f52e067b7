"""Label files: every known format, and a sentence for every error."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.replay.workload import load_workload


def written(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", "utf-8")
    return path


def test_pairs_of_prompts(tmp_path: Path) -> None:
    file = written(
        tmp_path / "pairs.jsonl",
        {"id": "1", "a": "x", "b": "y", "same": 1, "kind": "k", "lang": "en"},
        "",
        {"id": "2", "a": "x", "b": "z", "same_answer": False, "category": "negation"},
    )
    first, second = load_pairs(file)
    assert (first.stored, first.asked) == (({"role": "user", "content": "x"},), ({"role": "user", "content": "y"},))
    assert (first.same, first.kind) == (True, "k")
    assert (second.same, second.kind) == (False, "negation")


def test_pairs_of_conversations(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    file = written(tmp_path / "c.jsonl", {"a": turns, "b": turns[-1:], "same_answer": False, "subtype": "context_swap"})
    (pair,) = load_pairs(file)
    assert [message["content"] for message in pair.stored] == ["a", "b", "c"]
    assert pair.kind == "context_swap"


def test_clusters_make_pairs_within_and_between(tmp_path: Path) -> None:
    rows = [{"id": str(n), "cluster": "ab"[n % 2], "text": f"t{n}"} for n in range(6)]
    pairs = load_pairs(written(tmp_path / "clusters.jsonl", *rows), seed=3)
    cluster = {row["text"]: row["cluster"] for row in rows}
    assert len(pairs) == 12
    for pair in pairs:
        stored, asked = pair.stored[0]["content"], pair.asked[0]["content"]
        assert stored != asked
        assert (cluster[stored] == cluster[asked]) == pair.same
    assert pairs == load_pairs(tmp_path / "clusters.jsonl", seed=3)


def test_turns_make_traps_of_equal_words_after_other_histories(tmp_path: Path) -> None:
    file = written(
        tmp_path / "turns.jsonl",
        {"id": "1", "history": [], "raw": "tell me about rome", "rewrite": "Tell me about Rome."},
        {"id": "2", "history": ["tell me about rome"], "raw": "How old is it?", "rewrite": "How old is Rome?"},
        {"id": "3", "history": ["Tell me about Oslo"], "raw": "How old is it?", "rewrite": "How old is Oslo?"},
    )
    pairs = load_pairs(file)
    assert [(pair.same, pair.kind) for pair in pairs] == [(True, "rewrite"), (False, "other history")]
    assert pairs[1].stored[-1] == pairs[1].asked[-1]
    assert pairs[1].stored[0] != pairs[1].asked[0]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"a": "x", "b', "is not a JSON object"),
        ("[1]", "is not a JSON object"),
        ({"a": "x", "b": "y", "same": 2}, "has the label '2'"),
        ({"a": "x", "b": "y", "same": "maybe"}, "has the label 'maybe'"),
        ({"a": "x", "b": "y"}, "has no label"),
        ({"a": "x", "b": "y", "same": None}, "has no label"),
        ({"a": "x", "b": "y", "same": 1, "same_answer": 0}, "has two labels that differ"),
        ({"a": "x", "b": "y", "same": 0.5}, "has the label '0.5'"),
        ({"a": "x", "b": "y", "same": -1}, "has the label '-1'"),
        ({"a": "x", "b": "y", "same": "-1"}, "has the label '-1'"),
        ({"a": "x", "b": "y", "same": 10}, "has the label '10'"),
        ({"a": "x", "b": "y", "same": [1]}, "has the label '[1]'"),
        ({"a": "x", "same": 1}, "is none of the known formats"),
        ({"a": "x", "b": 5, "same": 1}, "has a side b of another kind"),
        ({"a": "x", "b": "y", "score": 4.8}, "has a score and no label"),
        ({"sentence1": "x", "sentence2": "y", "label": 4.8}, "has the label '4.8'"),
        ({"sentence1": "x", "sentence2": "y", "gold_label": "entailment"}, "has the label 'entailment'"),
        ({"premise": "x", "hypothesis": "y", "label": 0}, "begins a file of premises and hypotheses"),
        ({"text": "x", "category": "c"}, "begins texts by category, which doesn't say"),
        ({"text": "x", "label": 3}, "begins texts by label, which doesn't say"),
        ('{"a": "x", "b": "y", "same": %s}' % ("9" * 5000), "is not a JSON object"),
        ('{"a": "x \\ud800", "b": "y", "same": 1}', "holds half of a surrogate pair"),
        ({"a": "x", "b": " ", "same": 1}, "has an empty side b"),
        ({"a": [], "b": "y", "same": 1}, "has no side a"),
        ({"a": [{"role": "king", "content": "x"}], "b": "y", "same": 1}, "has a message in a without a known role"),
        ({"x": "y"}, "is none of the known formats"),
        ({"question": "x"}, "begins a file of prompts without labels (questions)"),
        ({"cluster": "a", "text": "x"}, "begins a file of one cluster"),
        ({"cluster": 1, "text": "x"}, "begins a file of one cluster"),
        ({"cluster": None, "text": "x"}, "has no text or no cluster"),
        ({"cluster": "a", "text": 1}, "has no text or no cluster"),
        ({"cluster": "a", "text": " "}, "has no text"),
        ({"raw": 1, "rewrite": "x", "history": []}, "has no raw, rewrite or history"),
        ({"raw": " ", "rewrite": "x", "history": []}, "has an empty raw or rewrite"),
        ({"intent": "a", "text": "x"}, "begins a file of one intent"),
        ({"text": "x"}, "begins a file of prompts without labels"),
        ({"a": "x", "b": "y", "same": 1, "namespace": 3}, "has a namespace that is no string"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: Any, problem: str) -> None:
    file = written(tmp_path / "bad.jsonl", row)
    with pytest.raises(InvalidRequestError) as caught:
        load_pairs(file)
    assert f"{file}:1 {problem}" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "same", [1, 1.0, True, "1", "1.000", " 1 ", "true", "TRUE", "Yes", "y", "T", "same", "equivalent"]
)
@pytest.mark.parametrize("field", ["same", "same_answer", "is_duplicate", "label", "Label"])
def test_labels_of_hits(tmp_path: Path, field: str, same: object) -> None:
    (pair,) = load_pairs(written(tmp_path / "f.jsonl", {"a": "x", "b": "y", field: same}))
    assert pair.same


@pytest.mark.parametrize(
    "same", [0, 0.0, False, "0", "0.0", "false", "FALSE", "No", "n", "different", "not_equivalent", "not-same"]
)
def test_labels_of_traps(tmp_path: Path, same: object) -> None:
    (pair,) = load_pairs(written(tmp_path / "f.jsonl", {"a": "x", "b": "y", "same": same}))
    assert not pair.same


def test_the_own_label_counts_before_another_datas_label(tmp_path: Path) -> None:
    (pair,) = load_pairs(written(tmp_path / "f.jsonl", {"a": "x", "b": "y", "same": 1, "label": "billing", "score": 2}))
    assert pair.same


@pytest.mark.parametrize(
    "sides",
    [
        ("a", "b"),
        ("question1", "question2"),
        ("Question 1", "Question 2"),
        ("sentence1", "sentence2"),
        ("sentence_1", "sentence_2"),
        ("text1", "text2"),
        ("q1", "q2"),
    ],
)
def test_sides_by_their_names(tmp_path: Path, sides: tuple[str, str]) -> None:
    file = tmp_path / "f.csv"
    file.write_text(f"idx,{sides[0]},{sides[1]},label\n7,x,y,1\n", "utf-8")
    (pair,) = load_pairs(file)
    assert (pair.stored[0]["content"], pair.asked[0]["content"]) == ("x", "y")
    with pytest.raises(InvalidRequestError, match="begins a file of labelled pairs"):
        load_workload(file, model="m")


def test_sides_of_parts_and_of_other_roles(tmp_path: Path) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]
    turns = [{"from": "human", "value": "one"}, {"from": "gpt", "value": "x"}, {"from": "human", "value": "two"}]
    file = written(
        tmp_path / "f.jsonl",
        {"a": parts, "b": {"messages": parts}, "same": 1},
        {"a": turns, "b": json.dumps(parts), "same": 0},
        {"a": "<|im_start|>user\none\ntwo<|im_end|>", "b": "one", "same": None, "label": "no"},
    )
    first, second, third = load_pairs(file)
    assert (third.stored, third.same) == (first.stored, False)
    assert first.stored == first.asked == ({"role": "user", "content": "one\ntwo"},)
    assert [message["role"] for message in second.stored] == ["user", "assistant", "user"]
    assert second.asked == first.asked


@pytest.mark.parametrize("empty", ["", " ", None, [], float("nan")])
def test_a_pair_with_an_empty_side_is_left_out_with_a_sentence(tmp_path: Path, empty: object) -> None:
    whole = {"a": "x", "b": "y", "same": 1}
    file = written(tmp_path / "f.jsonl", whole, {**whole, "b": empty}, {**whole, "same": 0})
    skipped: list[str] = []
    assert [pair.same for pair in load_pairs(file, on_skipped=skipped.append)] == [True, False]
    (sentence,) = skipped
    assert sentence.startswith(f"{file}:2 has ")
    assert sentence.endswith(" side b, so it is left out.")


def test_texts_and_turns_that_are_empty_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    clusters = [{"cluster": 0, "text": "x"}, {"cluster": 1.0, "text": ""}, {"cluster": 1, "text": "y"}]
    turn = {"history": [], "raw": "x", "rewrite": "X"}
    files = (written(tmp_path / "c.jsonl", *clusters), written(tmp_path / "t.jsonl", turn, {**turn, "raw": ""}))
    skipped: list[str] = []
    pairs = [pair for file in files for pair in load_pairs(file, on_skipped=skipped.append)]
    assert [pair.group for pair in pairs] == ["0", "1", ""]
    assert skipped == [
        f"{files[0]}:2 has no text, so it is left out.",
        f"{files[1]}:2 has an empty raw or rewrite, so it is left out.",
    ]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    sides = {"a": "one\u2028two\x85three", "b": "שלום, 😀\u2029"}
    row = json.dumps({**sides, "same": 1}, ensure_ascii=False)
    (tmp_path / "f.jsonl").write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n\n" + row.encode())
    pairs = load_pairs(tmp_path / "f.jsonl")
    assert [(pair.stored[0]["content"], pair.asked[0]["content"]) for pair in pairs] == [tuple(sides.values())] * 2


def test_a_file_of_nothing_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="holds nothing"):
        load_pairs(written(tmp_path / "empty.jsonl", ""))
    with pytest.raises(InvalidRequestError, match="can't be read: No such file"):
        load_pairs(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequestError, match="is not UTF-8 text"):
        load_pairs(tmp_path / "binary")


def test_every_shared_file_is_read(shared_data: Path) -> None:
    files = [
        *sorted((shared_data / "pairs").glob("*.jsonl")),
        *sorted((shared_data / "pairs_sa").glob("*.jsonl")),
        *sorted((shared_data / "fow_cache").rglob("*.jsonl")),
        *sorted((shared_data / "clusters").glob("*.jsonl")),
        *sorted((shared_data / "conversations").glob("*.jsonl")),
        *sorted((shared_data / "conversations_sa").glob("*.jsonl")),
        shared_data / "traffic" / "clinc150_dev.jsonl",
        shared_data / "fow_cache" / "conv-parts",
        shared_data / "fow_cache" / "conv-long",
    ]
    assert len(files) >= 10
    for file in files:
        pairs = load_pairs(file)
        assert any(pair.same for pair in pairs) or any(not pair.same for pair in pairs)


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("prompts_sa/dolly_263.csv", "begins a file of prompts without labels", "semcache replay"),
        ("traffic/bing_covid_us.jsonl", "begins a file of prompts without labels", "semcache replay"),
        ("prompts/arena_hard_v0.1_question.jsonl", "begins a file of prompts without labels", "semcache replay"),
        ("arrivals/AzureLLMInferenceTrace_conv.csv", "begins a trace of arrival times", "labels"),
    ],
)
def test_files_without_labels_are_refused(shared_data: Path, name: str, problem: str, hint: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        load_pairs(shared_data / name)
    assert hint in caught.value.hint


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize(
    "header", [("id", "a", "b", "same", "kind"), ("id", "question1", "question2", "is_duplicate", "category")]
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
def test_tables(tmp_path: Path, delimiter: str, header: tuple[str, ...], suffix: str) -> None:
    file = tmp_path / f"pairs.{suffix}"
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerow(["1", 'What is "x",\ny; z?', "שלום, 😀\tworld", "1", "quoted"])
        writer.writerow(["", "What's x?", "x;y,z", "FALSE", ""])
    first, second = load_pairs(file)
    assert first.stored == ({"role": "user", "content": 'What is "x",\ny; z?'},)
    assert first.asked == ({"role": "user", "content": "שלום, 😀\tworld"},)
    assert (first.pair_id, first.same, first.kind) == ("1", True, "quoted")
    # The quoted line feed makes the second record begin on line 4.
    assert (second.pair_id, second.same, second.kind) == (f"{file}:4", False, "different")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds nothing"),
        ("a,b,same\n", "holds a header and no rows"),
        ("a,b,same\nx,y,2\n", ":2 has the label '2'"),
        ("a,b,same\nx,y,\n", ":2 has the label ''"),
        ("a,b,same\nx, ,1\n", ":2 has an empty side b"),
        ('a,b,same\nx,y,1\nx,"cut of', ":3 is no row of a table: unexpected end of data"),
        ('a,b,same\nx,"y"z,1\n', ":2 is no row of a table"),
        ("a,b,same\nx,y,1\nx,y", ":3 has 2 fields and the header 3"),
        ("a,b,b,same\nx,y,z,1\n", ":1 names a column twice"),
        ("a,b\nx,y\n", ":2 has no label"),
        ("one,two\nx,y\n", "is none of the known formats"),
        ("prompt,tokens\nx,1\n", "begins a file of prompts without labels"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "bad.csv").write_text(text, "utf-8")
    with pytest.raises(InvalidRequestError) as caught:
        load_pairs(tmp_path / "bad.csv")
    assert problem in caught.value.message
    assert caught.value.hint


def test_a_table_takes_a_prompt_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"a,b,same\n{'x' * 1_000_000},y,0\n", "utf-8")
    (pair,) = load_pairs(tmp_path / "long.csv")
    assert len(pair.stored[0]["content"]) == 1_000_000


def test_intents_make_traps_alone(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "intent": "ab"[n % 2]} for n in range(8)]
    pairs = load_pairs(written(tmp_path / "intents.jsonl", *rows))
    intent = {row["text"]: row["intent"] for row in rows}
    assert len(pairs) == 8
    for pair in pairs:
        assert not pair.same
        assert intent[pair.stored[0]["content"]] != intent[pair.asked[0]["content"]]
        assert pair.sampled_with == intent[pair.asked[0]["content"]]


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep" / "one.jsonl", {"a": "x", "b": "y", "same": 1})
    (tmp_path / "two.csv").write_text("a,b,same,namespace,task_type\nx,y,0,n,t\n", "utf-8")
    (tmp_path / "LICENSE").write_text("not data", "utf-8")
    first, second = load_pairs(tmp_path)
    assert (first.same, first.namespace, second.same, second.namespace, second.task_type) == (True, "", False, "n", "t")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequestError, match=r"holds no files in \.csv, \.json, \.jsonl, \.ndjson, \.tsv"):
        load_pairs(tmp_path / "empty")


def test_a_stream_of_objects_and_of_plain_lines(tmp_path: Path) -> None:
    file = written(
        tmp_path / "s.jsonl",
        {"prompt": "one", "model": "m1", "namespace": "n"},
        {"q": "two"},
        {"messages": [{"role": "user", "content": "three"}]},
        "four {not json}",
        "{name}, five",
    )
    first, second, third, fourth, fifth = load_workload(file, model="m0")
    assert (first.model, first.namespace) == ("m1", "n")
    assert [json.loads(item.body)["messages"][0]["content"] for item in (second, third, fourth, fifth)] == [
        "two",
        "three",
        "four {not json}",
        "{name}, five",
    ]
    assert second.model == "m0"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "is not a JSON object"),
        ('{"prompt": "cut o', "is not a JSON object"),
        ({"x": 1}, "has no prompt"),
        ("", "holds"),
        ({"prompt": "x", "model": "é"}, "has the model 'é'"),
        ({"prompt": "x", "namespace": 5}, "has a namespace"),
        ('{"prompt": "\\ud800"}', "surrogate"),
    ],
)
def test_a_bad_stream_is_named(tmp_path: Path, row: Any, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        load_workload(written(tmp_path / "bad.jsonl", row), model="m")
