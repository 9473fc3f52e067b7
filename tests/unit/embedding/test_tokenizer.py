"""What the model reads of a text, by the default model's own tokenizer and without its network."""

import pytest

from semcache.embedding.models import PACKAGES, ModelFiles, find_model
from semcache.embedding.tokenizer import TextTokenizer
from semcache.errors import StartError

NAME = next(iter(PACKAGES))


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    pytest.importorskip(PACKAGES[NAME].package, reason="no installed package carries the default model")
    return find_model(NAME)


@pytest.fixture(scope="module")
def tokenizer(files) -> TextTokenizer:
    return TextTokenizer(files)


def test_ids_carry_the_special_tokens(tokenizer):
    ids = tokenizer.ids("hello world")
    assert (ids[0], ids[-1], len(ids)) == (101, 102, 4)


def test_a_long_text_is_cut_to_the_window_and_stays_closed(tokenizer):
    ids = tokenizer.ids("hello " * 1000)
    assert (len(ids), ids[-1]) == (256, 102)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("a short question?", True),
        ("word " * 254, True),
        ("word " * 255, False),
        ("!" * 254, True),
        ("!" * 255, False),
        ("x" * 100, True),
        ("what does " + "x" * 101 + " decode to", False),  # a word that long is one unknown token
        ("an emoji 🙂", False),  # unknown: two texts that differ only there have the same vector
        ("café naïve", True),
        ("한" * 120, False),  # a syllable is up to three tokens: its letters
        ("word " * 100_000, False),
    ],
)
def test_a_text_fits_when_the_model_reads_all_of_it(tokenizer, text, fits):
    assert tokenizer.fits(text) is fits


def test_full_width_letters_are_read_as_plain_ones(tokenizer):
    assert tokenizer.ids("Ｗｈａｔ　ｉｓ ｉｔ？") == tokenizer.ids("What is it?")
    assert tokenizer.ids("10²") != tokenizer.ids("102")


@pytest.mark.parametrize(
    ("text", "knows"),
    [
        ("", True),
        ("a short question?", True),
        ("word " * 100_000, True),
        ("café naïve", True),
        ("柿の育て方", False),
        ("คุณชอบอะไร", False),
        ("an emoji 🙂", False),
        ("🙂 " + "word " * 100_000, False),
    ],
)
def test_a_text_is_known_when_no_token_of_it_is_unknown(tokenizer, text, knows):
    assert tokenizer.knows(text) is knows


def test_short_ascii_is_decided_without_tokenising(tokenizer, monkeypatch):
    def refuse(_text):
        raise AssertionError("tokenised")

    monkeypatch.setattr(tokenizer, "_encode", refuse)
    assert tokenizer.fits("how do I reset my password?")
    assert not tokenizer.fits("word " * 100_000)


def test_a_missing_tokenizer_is_one_sentence(files, tmp_path):
    import dataclasses

    with pytest.raises(StartError, match=r"tokenizer\.json can't be read"):
        TextTokenizer(dataclasses.replace(files, path=tmp_path))
