"""Server-sent events from bytes that are cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.protocols.sse import Event, EventParser


def parse(pieces):
    parser = EventParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.finish()


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
        (b": ping\n\n: pong\n\ndata: a\n\n", [b"a"]),
        (b"id: 1\nretry: 5\nfoo: bar\nnonsense\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"\n\n\n", []),
        (b"data: a\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"event: x\n\n", []),
        (b"", []),
    ],
)
def test_events_of_a_stream(stream, wanted):
    assert [event.data for event in parse([stream])] == wanted
    assert [event.data for event in parse([stream[i : i + 1] for i in range(len(stream))])] == wanted


def test_an_events_name_is_its_own():
    assert parse([b"event: error\ndata: a\n\ndata: b\n\n"]) == [Event(b"error", b"a"), Event(b"", b"b")]


def test_an_event_comes_with_its_blank_line_and_not_later():
    parser = EventParser()
    assert parser.feed(b"data: a\r\n") == []
    assert parser.feed(b"\r") == [Event(b"", b"a")]
    assert parser.feed(b"\ndata: b\n\n") == [Event(b"", b"b")]


def test_what_waits_is_counted():
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 100)
    assert parser.pending_bytes == 106
    parser.feed(b"\ndata: y\n")
    assert parser.pending_bytes == 101
    parser.feed(b"\n")
    assert parser.pending_bytes == 0


_payloads = st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"")), max_size=4)


@given(_payloads, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200), max_size=8))
def test_cuts_change_nothing(payloads, line_end, cuts):
    stream = b"".join(b"data: " + payload + line_end + line_end for payload in payloads)
    places = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert [event.data for event in parse(pieces)] == payloads
