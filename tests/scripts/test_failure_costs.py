"""The script prints the table, and puts it between the marks of the page."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "failure_costs.py"


def test_script_prints_the_row_of_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["hostile-wrong-digest", "--seeds", "1", "--iterations", "3", "--task", "blobs"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2].startswith("| hostile-wrong-digest | 0 / 0 | ")
    assert "hostile-wrong-digest, seed 1: " in err


def test_script_writes_only_all_cases(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    with pytest.raises(SystemExit):
        main(["dead-leader", "--write"])
    assert "--write is for all cases" in capsys.readouterr().err


def test_page_has_the_marks_and_keeps_what_is_around_them() -> None:
    names = runpy.run_path(str(SCRIPT))
    page = f"before\n{names['BEGIN']}\nold\n{names['END']}\nafter\n"
    assert names["replaced"](page, "new\n") == f"before\n{names['BEGIN']}\nnew\n{names['END']}\nafter\n"
    real = names["PAGE"].read_text(encoding="utf-8")
    assert (real.count(names["BEGIN"]), real.count(names["END"])) == (1, 1)
