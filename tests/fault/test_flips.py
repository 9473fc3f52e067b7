"""A few of the nightly's damages of a data file: seen by check, a server, a repair and a server again."""

from pathlib import Path

import pytest

from tests.nightly.flips import Damages

DRAWN = 5


@pytest.fixture
def damages(tmp_path: Path) -> Damages:
    return Damages(tmp_path, 16)


def test_damages_end_no_process_serve_nothing_wrong_and_are_found(damages: Damages) -> None:
    whole = damages.truth.data
    for _ in range(DRAWN):
        damages.play(*damages.draw())
    damages.play("truncation: to nothing", b"")
    damages.play("truncation: to half", whole[: len(whole) // 2])
    assert damages.flips.problems == []
    assert damages.flips.figures["truncation"] >= 2
    assert damages.flips.figures["harmed"] >= 2


def test_a_whole_file_shows_nothing(damages: Damages) -> None:
    damages.play("nothing", damages.truth.data)
    assert damages.flips.problems == []
    assert damages.flips.figures["answers_kept"] == len(damages.truth.answers)
    assert damages.flips.figures["harmed"] == damages.flips.figures["found_by_check"] == 0
