"""Content words are matched by stem, slip, synonym and opposite, and moved words are seen."""

from semcache.text.alignment import Alignment, align
from semcache.text.content import Word, read_content
from semcache.text.texts import Text


def aligned(asked: str, stored: str) -> Alignment:
    return align(*(read_content(Text(text).content_words).words for text in (asked, stored)))


def folded(pairs: tuple[tuple[Word, Word], ...]) -> list[tuple[str, str]]:
    return [(asked.folded, stored.folded) for asked, stored in pairs]


def test_words_without_a_counterpart_are_listed() -> None:
    alignment = aligned("clean the bicycle chain", "clean the car")
    assert [word.folded for word in alignment.asked_only] == ["bicycle", "chain"]
    assert [word.folded for word in alignment.stored_only] == ["car"]
    assert alignment.unmatched_count == 3


def test_a_slip_a_synonym_and_an_opposite_are_counterparts() -> None:
    assert folded(aligned("reset password", "reset passwrod").slips) == [("password", "passwrod")]
    assert folded(aligned("buy shoes", "purchase shoes").synonyms) == [("buy", "purchase")]
    assert folded(aligned("enable login", "disable login").opposites) == [("enable", "disable")]


def test_a_compound_matches_its_two_words() -> None:
    assert aligned("reset pass word", "reset password").unmatched_count == 0


def test_words_in_another_order_have_moved() -> None:
    assert aligned("cats chase small dogs", "dogs chase small cats").moved
    assert not aligned("cats chase small dogs", "cats chase dogs").moved


def test_another_link_is_listed() -> None:
    assert folded(aligned("flights from Paris", "flights to Paris").relinked) == [("paris", "paris")]


def test_a_word_of_one_stem_that_is_no_plural_is_another_form() -> None:
    assert aligned("reset passwords", "reset password").other_forms == ()
    assert folded(aligned("the train", "the training").other_forms) == [("train", "training")]
    assert folded(aligned("report damages", "report damage").other_forms) == [("damages", "damage")]


def test_names_and_negative_words_are_flagged() -> None:
    words = {word.folded: word for word in read_content(("an", "unhappy", "flight", "to", "Boston")).words}
    assert words["boston"].is_name
    assert words["boston"].link == "to"
    assert words["unhappy"].is_negative
    assert not words["flight"].is_name


def test_words_joined_by_and_are_in_alphabetical_order() -> None:
    assert [word.stem for word in read_content(("salt", "and", "pepper")).words] == ["pepper", "salt"]
