"""A few of the nightly's damages of a data file: seen by check, a server, a repair and a server again."""

from pathlib import Path

from tests.nightly.flips import Damages

DRAWN = 2


def test_damages_end_no_process_serve_nothing_wrong_and_are_found(tmp_path: Path) -> None:
    damages = Damages(tmp_path, 16)
    figures, whole = damages.flips.figures, damages.truth.data
    damages.play("nothing", whole)
    assert damages.flips.problems == []
    assert figures["answers_kept"] == len(damages.truth.answers)
    assert figures["harmed"] == figures["found_by_check"] == 0
    for _ in range(DRAWN):
        damages.play(*damages.draw())
    damages.play("truncation: to half", whole[: len(whole) // 2])
    assert damages.flips.problems == []
    assert figures["harmed"] >= 1
