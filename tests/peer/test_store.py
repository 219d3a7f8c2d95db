"""The state on disk: whole or not there, and what comes back is what was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from marfl_peer.errors import ConfigError
from marfl_peer.peer.store import STATE_FILE, export_model, load_state, save_state, write_whole

MODEL = {"a.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}
MOMENTUM = {"a.weight": torch.ones(2, 3)}
FACTS = {"iteration": "12", "task": "digits"}


def test_saved_state_is_loaded_as_it_was(tmp_path: Path) -> None:
    size = save_state(tmp_path, model=MODEL, momentum=MOMENTUM, facts=FACTS)
    tensors, facts = load_state(tmp_path)
    assert size == (tmp_path / STATE_FILE).stat().st_size
    assert facts == FACTS
    assert set(tensors) == {"model/a.weight", "model/steps", "momentum/a.weight"}
    assert torch.equal(tensors["model/a.weight"], MODEL["a.weight"])
    assert torch.equal(tensors["model/steps"], MODEL["steps"])


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    save_state(tmp_path, model=MODEL, momentum={}, facts={"iteration": "1"})
    save_state(tmp_path, model=MODEL, momentum={}, facts={"iteration": "2"})
    assert load_state(tmp_path)[1]["iteration"] == "2"
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_tensors_that_share_memory_are_each_saved(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    save_state(tmp_path, model={"one": tied, "other": tied}, momentum={}, facts={})
    tensors, _ = load_state(tmp_path)
    assert torch.equal(tensors["model/one"], tensors["model/other"])


def test_no_saved_state_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no saved state"):
        load_state(tmp_path)


def test_damaged_state_is_a_config_error(tmp_path: Path) -> None:
    save_state(tmp_path, model=MODEL, momentum={}, facts={})
    whole = (tmp_path / STATE_FILE).read_bytes()
    for damaged in (b"", whole[:20], whole[:-5], b"x" * 100):
        (tmp_path / STATE_FILE).write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged"):
            load_state(tmp_path)


def test_export_writes_what_load_state_dict_takes(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    save_state(tmp_path, model=layer.state_dict(), momentum={"weight": torch.ones(2, 3)}, facts=FACTS)
    out = tmp_path / "deep" / "model.safetensors"
    told = export_model(tmp_path, out)
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(safetensors.torch.load_file(out))
    assert torch.equal(other.weight, layer.weight)
    assert told == {
        "iteration": 12,
        "task": "digits",
        "parameters": 8,
        "bytes": out.stat().st_size,
        "file": str(out),
    }


def test_write_where_no_file_can_be_is_a_config_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_write_below_a_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "file" / "below", b"content")
