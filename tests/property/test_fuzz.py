"""One turn of each target of the nightly fuzzing, under a fixed seed; how long anything takes isn't judged here."""

from pathlib import Path

from hypothesis import strategies as st

from tests.nightly.fuzz import Fuzzing, Turn, fuzz
from tests.nightly.fuzz_targets import Target

TARGETS = {"messages", "bodies", "meaning", "upstream", "rows", "labels", "prices"}


def test_no_input_breaks_anything(tmp_path: Path) -> None:
    fuzzing = fuzz(tmp_path, rounds=1, seed_number=16, on_progress=lambda _: None)
    assert fuzzing.failures == {}
    assert fuzzing.inputs.keys() == TARGETS
    assert min(fuzzing.inputs.values()) >= 20


def test_a_failure_names_the_smallest_input_and_its_seed_and_a_stall_its_input() -> None:
    def refuse(number: int) -> None:
        assert number < 100, "too large"

    said: list[str] = []
    fuzzing = Fuzzing()
    Turn(Target("numbers", st.integers(), refuse), 3, fuzzing, said.append).play()
    (report,) = fuzzing.failures["numbers"]
    assert "drawn=100" in report
    assert "too large" in report
    assert said[0].startswith("--- numbers, seed 3\n")
    Turn(Target("slow", st.just("x"), lambda _: None, lambda: 0.07), 4, fuzzing, said.append).play()
    assert fuzzing.stalls == {"slow": ["the event loop stood still for 70 ms: 'x'"]}
    assert fuzzing.as_json()["problems"] == {"numbers": 1, "slow: stalls": 1}
