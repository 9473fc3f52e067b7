"""Content words are matched by stem, slip, compound, synonym and opposite, and moved words are seen."""

from semcache.text.alignment import Alignment, Word, align, read_content_words
from semcache.text.texts import Text


def aligned(asked: str, stored: str) -> Alignment:
    return align(*(read_content_words(Text(text).content_words) for text in (asked, stored)))


def folded(pairs: tuple[tuple[Word, Word], ...]) -> list[tuple[str, str]]:
    return [(asked.folded, stored.folded) for asked, stored in pairs]


def test_words_without_a_counterpart_are_listed() -> None:
    alignment = aligned("clean the bicycle chain", "clean the car")
    assert [word.folded for word in alignment.asked_only] == ["bicycle", "chain"]
    assert [word.folded for word in alignment.stored_only] == ["car"]
    assert alignment.unmatched_count == 3


def test_a_slip_a_synonym_and_an_opposite_are_counterparts() -> None:
    assert folded(aligned("reset password", "reset passwrod").slips) == [("password", "passwrod")]
    assert folded(aligned("delete file", "remove file").synonyms) == [("delete", "remove")]
    assert folded(aligned("enable login", "disable login").opposites) == [("enable", "disable")]


def test_a_compound_matches_its_two_words() -> None:
    assert aligned("reset pass word", "reset password").unmatched_count == 0


def test_one_part_that_moved_is_a_rotation() -> None:
    rotated = aligned("Python sort list keys", "sort list keys Python")
    assert (rotated.moved, rotated.is_rotated) == (True, True)
    exchanged = aligned("cats chase small dogs", "dogs chase small cats")
    assert (exchanged.moved, exchanged.is_rotated) == (True, False)


def test_another_link_is_listed() -> None:
    assert folded(aligned("flights from Paris", "flights to Paris").relinked) == [("paris", "paris")]


def test_only_forms_of_one_word_are_inflected() -> None:
    assert aligned("report damages", "report damage").is_inflected
    assert not aligned("the author", "the authority").is_inflected


def test_names_and_negative_words_are_flagged() -> None:
    words = {word.folded: word for word in read_content_words(("an", "unhappy", "flight", "to", "Boston"))}
    assert words["boston"].is_name
    assert words["boston"].link == "to"
    assert words["unhappy"].is_negative
    assert not words["flight"].is_name


def test_words_joined_by_and_are_in_alphabetical_order() -> None:
    assert [word.stem for word in read_content_words(("salt", "and", "pepper"))] == ["pepper", "salt"]
