"""The forms of files: tables of every dialect, JSON in every layout, encodings, line ends, and files of other kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.files import load_pairs
from semcache.evaluation.replay.workload import load_workload

ONE, TWO = "Where is my order?", "How do I pay?"
LINES = json.dumps({"prompt": ONE}) + "\n" + json.dumps({"prompt": TWO}) + "\n"
PRETTY = json.dumps({"prompt": ONE}, indent=2) + "\n" + json.dumps({"prompt": TWO}, indent=2)


def file_of(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def prompts_of(path: Path) -> list[Any]:
    return [json.loads(request.body)["messages"][-1]["content"] for request in load_workload(path, model="m")]


def refusal(path: Path) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        load_workload(path, model="m")
    with pytest.raises(InvalidRequestError):
        load_pairs(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("f.jsonl", LINES, id="lines"),
        pytest.param("f.jsonl", LINES.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("f.jsonl", LINES.replace("\n", "\r"), id="CR"),
        pytest.param("f.jsonl", "\n\n" + LINES.replace("\n", "\n \n"), id="blank lines"),
        pytest.param("f.txt", LINES, id="JSON lines in .txt"),
        pytest.param("f", LINES, id="JSON lines without a suffix"),
        pytest.param("f.csv", LINES, id="JSON lines in .csv"),
        pytest.param("f.ndjson", LINES, id="ndjson"),
        pytest.param("f.jsonl", b"\xef\xbb\xbf" + LINES.encode(), id="UTF-8 mark"),
        pytest.param("f.jsonl", "\ufeff" + LINES.replace("\n{", "\n\ufeff{"), id="UTF-8 marks of joined files"),
        pytest.param("f.jsonl", b"\xff\xfe" + LINES.encode("utf-16-le"), id="UTF-16 LE"),
        pytest.param("f.jsonl", b"\xfe\xff" + LINES.encode("utf-16-be"), id="UTF-16 BE"),
        pytest.param("f.jsonl", LINES.replace("}\n", "},\n"), id="commas after objects"),
        pytest.param("f.jsonl", LINES.replace("\n", ""), id="objects on one line"),
        pytest.param("f.jsonl", PRETTY, id="pretty objects"),
        pytest.param("f.json", PRETTY.replace("}\n{", "},\n{"), id="pretty objects with commas"),
        pytest.param("f.json", json.dumps([{"prompt": ONE}, {"prompt": TWO}]), id="array"),
        pytest.param("f.jsonl", json.dumps([{"prompt": ONE}, {"prompt": TWO}], indent=1), id="pretty array"),
        pytest.param("f.json", json.dumps([ONE, TWO]), id="array of texts"),
        pytest.param("f.jsonl", f"{json.dumps(ONE)}\n{json.dumps(TWO)}\n", id="text lines in quotes"),
        pytest.param("f.json", json.dumps({"data": [{"prompt": ONE}, {"prompt": TWO}], "meta": {}}), id="wrapped"),
        pytest.param(
            "f.json", json.dumps({"rows": [{"row": {"prompt": ONE}}, {"row": {"prompt": TWO}}]}), id="HF rows"
        ),
        pytest.param(
            "f.jsonl", f"{ {'prompt': ONE} }\n{ {'prompt': TWO, 'ok': True, 'x': None} }\n", id="Python dicts"
        ),
        pytest.param("f.jsonl", f"{[{'prompt': ONE}, {'prompt': TWO}]}\n", id="Python list"),
        pytest.param("f.csv", f"prompt,x\n{ONE},1\n{TWO},2\n", id="commas"),
        pytest.param("f.csv", f"prompt;x\n{ONE};1\n{TWO};2\n", id="semicolons"),
        pytest.param("f.csv", f"prompt|x\n{ONE}|1\n{TWO}|2\n", id="pipes"),
        pytest.param("f.csv", f"prompt\tx\n{ONE}\t1\n{TWO}\t2\n", id="tabs"),
        pytest.param("f.txt", f"prompt\tx\n{ONE}\t1\n{TWO}\t2\n", id="table in .txt"),
        pytest.param("f.csv", f"sep=;\r\nprompt;x\r\n{ONE};1\r\n{TWO};2\r\n", id="sep line"),
        pytest.param("f.csv", f"PROMPT , x\n{ONE},1\n{TWO},2\n", id="capitals and spaces"),
        pytest.param("f.csv", f",prompt,,\n0,{ONE},,\n1,{TWO},,\n", id="columns without names"),
        pytest.param("f.csv", f"prompt,x\r{ONE},1\r{TWO},2\r", id="CR table"),
        pytest.param("f.csv", f"prompt\n{ONE}\n{TWO}\n", id="one column"),
        pytest.param("f.txt", f"{ONE}\n{TWO}\n", id="plain lines"),
        pytest.param("f.txt", f"{ONE}\r{TWO}\r", id="plain lines with CR"),
    ],
)
def test_two_prompts_in_every_form(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = file_of(tmp_path, name, content)
    assert prompts_of(path) == [ONE, TWO]
    with pytest.raises(InvalidRequestError, match="begins a file of prompts without labels"):
        load_pairs(path)


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        ("braces.txt", '{name}, hello\n{"a": 1} is this JSON?\n[1, 2] sort it\n', 3),
        ("json_first.txt", '{"a": 1} is this JSON?\nyes\n', 2),
        ("python_set.txt", "{'name'}, hello\n['a'] and more\n", 2),
        ("examples.json", '{"prompt": "hello", "examples": [{"prompt": "other"}]}', 1),
        ("brackets.jsonl", "[urgent] hello\n{0} and {1}\n", 2),
        ("quotes.txt", '"Help" is what I need\n"Where?"\n', 2),
        ("comma.txt", "text, please\nq; w\n", 2),
        ("mac_excel.csv", 'prompt,x\r"line one\nline two",a\rnext,b\r', 2),
        ("python_text.jsonl", "{'prompt': 'it\\'s'}\n{'prompt': \"it's\"}\n", 2),
        ("separators.txt", "one\u2028two\x85three\nfour", 2),
    ],
)
def test_what_only_looks_like_another_form_is_a_prompt(tmp_path: Path, name: str, content: str, prompts: int) -> None:
    read = prompts_of(file_of(tmp_path, name, content))
    assert len(read) == prompts
    assert all(isinstance(prompt, str) and prompt in content.replace("\\'", "'") for prompt in read)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("f.jsonl", b"\x1f\x8b\x08abc", "f.jsonl is a gzip file"),
        ("f.xlsx", b"PK\x03\x04abc", "f.xlsx is a zip file"),
        ("f.parquet", b"PAR1abc", "f.parquet is a Parquet file"),
        ("f.arrow", b"ARROW1\0\0", "f.arrow is an Arrow file"),
        ("f.db", b"SQLite format 3\x00", "f.db is an SQLite database"),
        ("f.csv", "prompt\nä\n".encode("cp1252"), ":2 is not UTF-8 text"),
        ("f.csv", "prompt\ra\rä\r".encode("cp1252"), ":3 is not UTF-8 text"),
        ("f.csv", "prompt\nx\n".encode("utf-16-le"), ":1 holds a NUL character"),
        ("f.txt", b"\xff\xfea", ":1 is not UTF-8 text, nor the UTF-16"),
        (
            "f.json",
            '[{"prompt": "a"},\n{"prompt": "b',
            ":1 is not a JSON object: Unterminated string starting at line 2",
        ),
        ("f.json", '[{"prompt": "a"},\n]', "a comma stands before the closing bracket at line 2"),
        ("f.json", '[{"prompt": "a"} {"prompt": "b"}]', "Expecting ',' delimiter"),
        ("f.json", "[1, 2]", ":1 is not a JSON object"),
        ("f.json", "[" * 100_000, "it is nested too deep"),
        ("f.json", '["\\ud800"]', "half of a surrogate pair"),
        ("f.jsonl", '{"prompt": "a",}\n', ":1 is not a JSON object: a comma stands before the closing bracket"),
        ("f.jsonl", '{"prompt": "a"}\n{"prompt": "b\n{"prompt": "c"}', ":2 is not a JSON object: Invalid control char"),
        ("f.jsonl", '{"prompt": "a"} and more\n', ":1 is not a JSON object: text follows it"),
        ("f.jsonl", '{"prompt": "a", "at": Infinity}\n', "Infinity is no JSON number"),
        ("f.jsonl", "{'prompt': datetime(2020, 1, 1)}\n", ":1 is neither JSON nor a Python literal"),
        ("f.jsonl", "{'prompt': b'bytes'}\n", ":1 is neither JSON nor a Python literal"),
        ("f.txt", '{"prompt": "cut o', ":1 is not a JSON object"),
        ("f.json", '{"prompt": {"0": "a", "1": "b"}, "answer": {"0": "x", "1": "y"}}', ":1 holds a table by columns"),
        ("f.json", '{"prompt": ["a", "b"], "answer": ["x", "y"]}', ":1 holds a table by columns"),
        ("f.txt", "<|im_start|>user\nhello<|im_end|>\n", ":1 begins text with a chat template's markup"),
        ("f.txt", "<|start_header_id|>user<|end_header_id|>\nhello", ":1 begins text with a chat template's markup"),
        ("f.tsv", 'prompt\tx\na\t1\nb\t"cut of', ":3 is no row of a table: unexpected end of data"),
        ("f.csv", "Prompt,prompt\na,b\n", ":1 names a column twice"),
        ("f.csv", "sep=;\nprompt;x\na\n", ":3 has 1 fields and the header 2"),
        ("f.txt", "\n \n", "f.txt holds nothing"),
        ("f.json", "[]", "f.json holds nothing"),
        ("f.json", "hello\nthere\n", ":1 is not a JSON object"),
        ("f.json", '// a note\n{"prompt": "a"}', ":1 is not a JSON object"),
        ("f.json", '{"prompt": "a"}\nhello', ":2 is not a JSON object"),
        ("f.jsonl", '{"prompt": "a"}\nnull\n', ":2 is not a JSON object"),
        ("f.jsonl", '{"prompt": "a"}\n-1.5\n', ":2 is not a JSON object"),
        ("f.yaml", "- prompt: a\n- prompt: b\n", "f.yaml is a file of YAML"),
        ("f.txt", "<?xml version='1.0'?>\n<p>a</p>", "f.txt is an XML file"),
        ("f.csv", "<!DOCTYPE html>\n<p>a</p>", "f.csv is an HTML page"),
        ("f.rtf", "{\\rtf1 hello}", "f.rtf is a Rich Text file"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    error = refusal(file_of(tmp_path, name, content))
    assert problem in error.message
    assert error.message.startswith(str(tmp_path))
    assert error.message.endswith(".")
    assert error.hint


def test_an_unquoted_table_with_tabs_keeps_its_quotes(tmp_path: Path) -> None:
    path = file_of(tmp_path, "f.tsv", 'sentence1\tsentence2\tlabel\n"Yes" he said\the said "Yes"\t1\n')
    (pair,) = load_pairs(path)
    assert (pair.stored[0]["content"], pair.asked[0]["content"]) == ('"Yes" he said', 'he said "Yes"')


def test_records_in_an_array_have_their_own_lines(tmp_path: Path) -> None:
    path = file_of(tmp_path, "f.json", '[\n{"prompt": "a", "at": 1},\n\n{"prompt": "b", "at": "noon"}]')
    with pytest.raises(InvalidRequestError, match=r"f\.json:4 has the time 'noon'"):
        load_workload(path, model="m")
