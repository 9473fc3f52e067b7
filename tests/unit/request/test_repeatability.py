"""Requests whose answer mustn't be given again are named by their wording; those that only look so are not."""

import time
from itertools import product
from pathlib import Path

import pytest

from semcache.request.repeatability import Message, Repeatability
from semcache.request.wordings import fold, load_patterns, load_phrases
from semcache.settings import SHIPPED, CacheabilitySettings
from semcache.text.dates import DATE_WORDS, find_dates

CASES = Path(__file__).parent / "wordings"
SHIPPED_CLASSES = Repeatability(CacheabilitySettings())
OFF = CacheabilitySettings(time_sensitive=(), random=(), continuation=(), personal=())


def asked(text: str, *earlier: str, begins: bool = True) -> Message:
    return Message(text, earlier, begins)


def cases() -> list[tuple[str, str]]:
    return [
        ("" if path.stem == "repeatable" else path.stem, line)
        for path in sorted(CASES.glob("*.txt"))
        for line in path.read_text("utf-8").splitlines()
    ]


def test_there_are_cases_of_every_class() -> None:
    assert {name for name, _ in cases()} == {"", "time_sensitive", "random", "continuation", "personal"}
    assert len(cases()) > 1000


@pytest.mark.parametrize("name", ["", "time_sensitive", "random", "continuation", "personal"])
def test_the_class_of_a_wording(name: str) -> None:
    found = {text: SHIPPED_CLASSES.class_of(asked(text)) for case, text in cases() if case == name}
    assert {text: other for text, other in found.items() if other != name} == {}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(str.upper, id="in capitals"),
        pytest.param(lambda text: f"  {text}\n", id="among white space"),
        pytest.param(lambda text: f"Hello!\n{text}", id="after a greeting"),
        pytest.param(lambda text: text.replace("'", "\u2019"), id="with a curly apostrophe"),
    ],
)
@pytest.mark.parametrize(
    "text", ["What's the weather in Paris?", "Flip a coin", "My name is Bob", "Quelle heure est-il ?"]
)
def test_a_wording_counts_however_it_is_written(text: str, change) -> None:
    assert SHIPPED_CLASSES.class_of(asked(change(text))) == SHIPPED_CLASSES.class_of(asked(text)) != ""


def test_accents_may_be_left_out_and_letters_may_be_full_width() -> None:
    assert SHIPPED_CLASSES.class_of(asked("que pasara manana")) == "time_sensitive"
    assert SHIPPED_CLASSES.class_of(asked("ｆｌｉｐ ａ ｃｏｉｎ")) == "random"


RELATIVE = [
    date
    for date in sorted(DATE_WORDS)
    + [
        f"{which} {what}"
        for which, what in product(
            ["next", "last", "this", "previous", "past", "coming"],
            ["week", "month", "year", "quarter", "weekend", "monday", "friday", "sunday"],
        )
    ]
    if any(
        found.startswith("from now") or (found.startswith("day") and found.count(" ") == 2)
        for found in find_dates(f"est {date}?", frozenset(f"est {date}".split()))[1]
    )
]


@pytest.mark.parametrize("date", RELATIVE)
def test_each_relative_date_of_the_date_parser_is_time_sensitive(date: str) -> None:
    assert SHIPPED_CLASSES.class_of(asked(f"est {date}?")) == "time_sensitive"


@pytest.mark.parametrize("name", ["time_sensitive", "random", "continuation", "personal"])
def test_each_class_is_switched_by_its_list(name: str) -> None:
    without = Repeatability(CacheabilitySettings(**{name: ()}))
    texts = [text for case, text in cases() if case == name]
    assert {without.class_of(asked(text)) for text in texts if len(text) < 200} - {""} <= {
        "time_sensitive",
        "random",
        "personal",
    } - {name}
    alone = Repeatability(OFF.model_copy(update={name: (SHIPPED,)}))
    assert {alone.class_of(asked(text)) for text in texts} == {name}
    assert {Repeatability(OFF).class_of(asked(text)) for text in texts} == {""}


def test_an_operators_own_patterns_stand_beside_the_shipped_wordings_or_alone() -> None:
    both = Repeatability(CacheabilitySettings(random=(SHIPPED, r"\blottery\b")))
    assert both.class_of(asked("Who won the Lottery draw?")) == both.class_of(asked("flip a coin")) == "random"
    own = Repeatability(CacheabilitySettings(random=(r"\blottery\b",)))
    assert own.class_of(asked("flip a coin")) == ""


@pytest.mark.parametrize("text", ["continue", "yes", "Weiter!", "続けて"])
def test_a_continuation_is_one_only_without_an_earlier_turn(text: str) -> None:
    assert SHIPPED_CLASSES.class_of(asked(text)) == "continuation"
    assert SHIPPED_CLASSES.class_of(asked(text, "Tell me of Rome", begins=False)) == ""
    own = Repeatability(CacheabilitySettings(continuation=("^hop$",)))
    assert (own.class_of(asked("hop")), own.class_of(asked("hop", begins=False))) == ("continuation", "")


def test_an_earlier_turn_makes_a_request_personal_but_not_time_sensitive() -> None:
    assert SHIPPED_CLASSES.class_of(asked("What is my name?", "My name is Bob", begins=False)) == "personal"
    assert SHIPPED_CLASSES.class_of(asked("Thank you", "What's the weather?", begins=False)) == ""
    own = Repeatability(CacheabilitySettings(personal=("badge [0-9]+",)))
    assert own.class_of(asked("Is it valid?", "I have badge 7", begins=False)) == "personal"


FOLLOW_UPS = [
    ("time_sensitive", "What's the weather in Rome?", "And in Paris?"),
    ("time_sensitive", "What's the weather in Rome?", "What about the south of France?"),
    ("time_sensitive", "bitcoin price", "and ethereum?"),
    ("time_sensitive", "bitcoin price", "ethereum?"),
    ("time_sensitive", "What's the weather in Rome?", "is it warm there"),
    ("time_sensitive", "What time is it in Tokyo?", "in New York?"),
    ("random", "Flip a coin", "again"),
    ("random", "Roll two dice", "one more time"),
    ("random", "Flip a coin", "now do it again"),
    ("time_sensitive", "Wie ist das Wetter in Rom?", "Und in Paris?"),
    ("time_sensitive", "¿Qué tiempo hace en Roma?", "¿Y en París?"),
    ("time_sensitive", "Quel temps fait-il à Rome ?", "Et à Paris ?"),
    ("time_sensitive", "Che tempo fa a Roma?", "E a Parigi?"),
    ("time_sensitive", "Como está o tempo em Roma?", "E em Paris?"),
    ("time_sensitive", "Wat is het weer in Rome?", "En in Parijs?"),
    ("time_sensitive", "Jaka jest pogoda w Rzymie?", "A w Paryżu?"),
    ("time_sensitive", "Какая погода в Риме?", "А в Париже?"),
    ("time_sensitive", "ローマの天気は？", "じゃあパリは？"),
    ("time_sensitive", "罗马天气怎么样？", "那巴黎呢？"),
    ("time_sensitive", "로마 날씨 어때?", "그럼 파리는?"),
    ("random", "Wirf eine Münze", "nochmal"),
    ("random", "Подбрось монету", "ещё раз"),
    ("random", "抛硬币", "再来一次"),
    ("", "What's the weather in Rome?", "Thanks!"),
    ("", "What's the weather in Rome?", "What is recursion?"),
    ("", "What's the weather in Rome?", "Explain how a barometer measures the pressure of air"),
    ("", "Wie ist das Wetter in Rom?", "Danke dir"),
    ("", "ローマの天気は？", "ありがとう"),
    ("", "罗马天气怎么样？", "谢谢"),
    ("", "What is the capital of Italy?", "And of France?"),
]


@pytest.mark.parametrize(("name", "before", "text"), FOLLOW_UPS, ids=[f"{b} {t}" for _, b, t in FOLLOW_UPS])
def test_a_follow_up_has_the_class_of_the_message_it_follows(name: str, before: str, text: str) -> None:
    assert SHIPPED_CLASSES.class_of(asked(text, before, begins=False)) == name


def test_follow_ups_are_followed_back_to_the_message_that_asks() -> None:
    assert SHIPPED_CLASSES.class_of(asked("and Oslo?", "weather in Rome", "and Paris?", begins=False)) == (
        "time_sensitive"
    )
    assert SHIPPED_CLASSES.class_of(asked("and Oslo?", "weather in Rome", "What is recursion?", begins=False)) == ""
    own = Repeatability(CacheabilitySettings(random=(SHIPPED, r"\blottery\b")))
    assert own.class_of(asked("and again", "lottery please", begins=False)) == "random"


def test_no_text_takes_long() -> None:
    hard = "is what the how name ... of random weather time price please " * 20_000
    started_s = time.monotonic()
    SHIPPED_CLASSES.class_of(asked(hard + "tomorrow"))
    assert time.monotonic() - started_s < 10  # A search that isn't linear would take hours.


def test_a_line_of_a_table_is_written_out() -> None:
    assert fold("Ändern Ł ＡＢＣ ’") == "andern l abc '"
    assert fold("が й") == "が й"  # Marks of other scripts make other letters.
    patterns = load_patterns("random")
    assert not [pattern for pattern in patterns if "{please}" in pattern or "..." in pattern]
    assert "go on" in load_phrases("continuation")
