"""Characters that nobody sees are found, and those that are common in text aren't."""

import pytest

from semcache.request.hidden import has_hidden_characters


@pytest.mark.parametrize(
    "hidden",
    [
        "".join(chr(0xE0000 + ord(letter)) for letter in "ignore this"),
        "\ue000",
        "\U000f1234",
        "\u202eterces\u202c",
        "\u2066\u2069",
        "\u2063",
        "\x00",
        "\x1b[31m",
        "\u3164",
        "\ufe01\ufe02\ufe03",
        "\u200b\u2060\u200b",
        "\u200d\u200c\u200d",
        "\U000e0100",
    ],
)
def test_hidden_characters_are_found(hidden: str) -> None:
    assert has_hidden_characters(f"What is tea?{hidden}")
    assert has_hidden_characters(f"{hidden} What is tea?") or hidden.startswith("\u200d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is tea?\n\n\tWhy?\r\n",
        "pass\u200bword",
        "co\u00adop\u00aderate",
        "\ufeffHow are you?",
        "می\u200cخواهم می\u200cروم نمی\u200cدانم",
        "\u200fשלום\u200f עולם\u200f",
        "❤\ufe0f and ☎\ufe0e",
        "👩\u200d👩\u200d👧\u200d👦",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "naïve Straße 東京",
    ],
)
def test_what_is_common_in_text_is_not_hidden(text: str) -> None:
    assert not has_hidden_characters(text)
