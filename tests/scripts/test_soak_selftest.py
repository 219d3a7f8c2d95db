"""The hunt for planted bugs as a command: its table, and its exit code where a bug is not found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak_selftest.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "--processes", "1", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_selftest_prints_what_found_a_bug() -> None:
    result = _run("--only", "deadline does not grow", "--seeds", "3")
    assert result.returncode == 0, result.stderr
    assert "deadline does not grow" in result.stdout
    assert "I4" in result.stdout
    assert "1 of 1 found" in result.stdout


def test_selftest_fails_where_a_bug_is_not_found() -> None:
    result = _run("--only", "deadline does not grow", "--seeds", "0")
    assert result.returncode == 1
    assert "not found" in result.stdout
    assert "0 of 1 found" in result.stdout


def test_selftest_knows_its_bugs() -> None:
    result = _run("--only", "no such thing")
    assert result.returncode == 2
    assert "no such bug: no such thing" in result.stderr
