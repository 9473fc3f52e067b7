"""The prompts of other traffic that ship are in step with training/groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_prompts_that_ship_are_in_step_with_the_groups() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "gen_background.py", "--check"], check=True, cwd=ROOT)
