from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from marfl_peer.config import Settings
from marfl_peer.network.identity import INCARNATION_FILE, KEY_FILE, Identity
from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.folders import (
    MIB,
    DataSeen,
    StateSeen,
    judge_data,
    judge_state,
    look_at_data,
    look_at_state,
)
from marfl_peer.peer.store import MANIFEST_FILE, Manifest, save_state, tensor_bytes

GOOD = StateSeen(folder="s", peers=1, run_id="default")


def saved(folder: Path, run_id: str = "default") -> Manifest:
    manifest = Manifest(
        peer_id="ab" * 20,
        incarnation=1,
        run_id=run_id,
        task="digits",
        settings="",
        schema="",
        iteration=7,
        digest="",
        group=(),
        shard=0,
        epoch=0,
        offset=0,
    )
    save_state(folder, manifest, tensor_bytes({"w": torch.ones(3)}, {}))
    return manifest


def codes(folder: Path, **changes: object) -> dict[str, str]:
    """Code and remedy of everything that is not well."""
    found = judge_state(look_at_state(Settings(state_dir=folder).adopt(changes), peers=1))
    return {one.code: one.remedy for one in found if one.severity is not Severity.OK}


def test_folder_that_is_not_there_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    assert codes(tmp_path / "a" / "b") == {}
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_peer_that_ran_is_fine_and_stays_as_it_is(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path).close()
    saved(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert codes(tmp_path) == {}
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    text = judge_state(look_at_state(Settings(state_dir=tmp_path), peers=1))[0].seen
    assert "iteration 7" in text


def test_file_in_place_of_a_folder_and_a_system_that_takes_none_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "state", Path("/proc/marfl")):
        assert "--state-dir a folder" in codes(folder)["state_unwritable"]


def test_folder_of_a_peer_that_runs_is_taken(tmp_path: Path) -> None:
    with Identity.load_or_create(tmp_path):
        assert "stop the peer" in codes(tmp_path)["state_locked"]
    assert codes(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_damaged_state_is_found(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    assert f"delete {tmp_path}/state.json" in codes(tmp_path)["state_damaged"]


def test_damaged_tensors_are_found(tmp_path: Path) -> None:
    saved(tmp_path)
    (path,) = tmp_path.glob("state-*.safetensors")
    path.write_bytes(bytes(path.stat().st_size))
    assert set(codes(tmp_path)) == {"state_damaged"}


@pytest.mark.parametrize("name", [KEY_FILE, INCARNATION_FILE])
def test_damaged_identity_is_found(tmp_path: Path, name: str) -> None:
    Identity.load_or_create(tmp_path).close()
    (tmp_path / name).write_text("garbage")
    (tmp_path / name).chmod(0o600)
    assert "delete identity.pem and incarnation" in codes(tmp_path)["identity_damaged"]


def test_key_that_others_can_read_is_found(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path).close()
    (tmp_path / KEY_FILE).chmod(0o644)
    assert "chmod 600" in codes(tmp_path)["identity_open"]


def test_state_of_another_run_is_found(tmp_path: Path) -> None:
    saved(tmp_path, "old")
    assert "--run-id old" in codes(tmp_path, run_id="new")["state_foreign"]


@pytest.mark.parametrize(
    ("free_mib", "peers", "code", "severity"),
    [
        (10, 1, "disk_full", Severity.FAILURE),
        (100, 1, "disk_scarce", Severity.WARNING),
        (1000, 1, "disk", Severity.OK),
        (1000, 100, "disk_scarce", Severity.WARNING),
    ],
)
def test_disk_without_room_is_found(free_mib: int, peers: int, code: str, severity: Severity) -> None:
    seen = dataclasses.replace(GOOD, free_bytes=free_mib * MIB, peers=peers)
    finding = judge_state(seen)[-1]
    assert (finding.code, finding.severity) == (code, severity)
    assert severity is Severity.OK or "--state-dir on another disk" in finding.remedy


def test_data_that_a_task_can_read_are_counted() -> None:
    finding = judge_data(look_at_data(Settings()))
    assert (finding.code, finding.severity) == ("data", Severity.OK)
    assert "training samples" in finding.seen


def test_data_that_are_not_there_are_named_with_the_command_that_gets_them(tmp_path: Path) -> None:
    finding = judge_data(look_at_data(Settings(task="mnist", data_dir=tmp_path)))
    assert (finding.code, finding.severity) == ("data_unusable", Severity.FAILURE)
    assert "`marfl-peer data fetch mnist`" in finding.remedy
    assert "fetch" not in judge_data(DataSeen(task="own:task", problem="no")).remedy
