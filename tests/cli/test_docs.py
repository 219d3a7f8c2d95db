"""The page that `scripts/make_docs.py` writes is the one in `docs/`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_docs.py"


@pytest.fixture
def make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(make_docs: ModuleType) -> None:
    assert make_docs.PAGE.read_text(encoding="utf-8") == make_docs.render(), "run scripts/make_docs.py"


def test_check_notices_a_page_that_is_not(
    make_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_docs, "PAGE", tmp_path / "docs" / "settings.md")
    monkeypatch.setattr("sys.argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 1
    monkeypatch.setattr("sys.argv", ["make_docs.py"])
    assert make_docs.main() == 0
    monkeypatch.setattr("sys.argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 0
    make_docs.PAGE.write_text("old", encoding="utf-8")
    assert make_docs.main() == 1
    assert "not up to date" in capsys.readouterr().out


def test_page_names_every_setting_metric_and_exit_code(make_docs: ModuleType) -> None:
    page = make_docs.render()
    for word in ("`--group-size`", "`MARFL_GROUP_SIZE`", "2 to 64", "`marfl_sent_bytes_total`", "| 143 |"):
        assert word in page
