"""The scripts around the simulator run, tell what they ran, and fail where they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def _run(script: str, *arguments: str, code: int) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def test_soak_of_a_few_seeds_says_what_was_not_covered(tmp_path: Path) -> None:
    log = tmp_path / "soak.jsonl"
    out = _run("soak.py", "--count", "2", "--rare", "1", "--workers", "1", "--log", str(log), code=1)
    assert "3 seeds from 1 and from 1000000 on" in out
    assert "FETCHING GAVE_UP" in out
    assert len(log.read_text().splitlines()) == 3


def test_peer_hours_are_lived_and_counted() -> None:
    out = _run("peer_hours.py", "--peer-hours", "0.4", "--peers", "4", "--worlds", "1", code=0)
    assert "1 worlds of 4 peers, 6 iterations each" in out
    assert "4 of 4 peers finished, 0 invariants broken" in out


def test_crashes_at_message_boundaries_are_counted() -> None:
    out = _run("exhaustive.py", "--stride", "800", "--workers", "1", code=0)
    assert "crashes planned" in out
    assert "0 broke an invariant" in out
