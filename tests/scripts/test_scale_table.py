"""The script prints both tables."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "scale_table.py"


def test_script_prints_the_tables_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    main(["16", "--counted-up-to", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 16 | grid | 2 | 0 | 0 | 0 | 21.0 | 0 |")
    assert lines[3].startswith("| 16 | hashed | 2 | ")
    assert [line.split(" | ")[0] for line in lines[-3:]] == ["| share", "| sum", "| ignored"]
