"""What the trials find: a state that is older, damaged, or not the one that the next life starts from."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.facts import StateRejected, StateResumed
from marfl_peer.network.identity import INCARNATION_FILE
from marfl_peer.peer.store import MANIFEST_FILE, Manifest, save_state, tensor_bytes

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "resume_trials.py"


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resume_trials", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["resume_trials"] = module
    spec.loader.exec_module(module)
    return module


def save(folder: Path, iteration: int, incarnation: int) -> None:
    manifest = Manifest(
        peer_id="a" * 40,
        incarnation=incarnation,
        run_id="run",
        task="digits",
        settings="",
        schema="",
        iteration=iteration,
        digest="",
        group=(),
        shard=0,
        epoch=0,
        offset=0,
    )
    save_state(folder, manifest, tensor_bytes({}, {}))
    (folder / INCARNATION_FILE).write_text(f"{incarnation}\n")


def resumed(iteration: int) -> StateResumed:
    return StateResumed(iteration=iteration, bytes_read=1, epoch=0, offset=0, seconds=0.0)


def test_folder_that_goes_on_is_no_reason_to_complain(trials: ModuleType, tmp_path: Path) -> None:
    findings = trials.Findings()
    findings.look(1, tmp_path)
    for kill, iteration in ((2, 5), (3, 5), (4, 9)):
        save(tmp_path, iteration, kill)
        findings.look(kill, tmp_path)
        findings.begins(kill, resumed(iteration))
    (tmp_path / "state-00000010-ab.safetensors.new").touch()
    findings.look(5, tmp_path)
    assert findings.complaints == []
    assert (findings.resumed, findings.drafts, findings.iteration) == (3, 1, 9)
    assert trials.report(findings, 1.0)[-1] == "0 kills: held, 0 complaints"


def test_older_damaged_or_missing_state_is_found(trials: ModuleType, tmp_path: Path) -> None:
    findings = trials.Findings()
    save(tmp_path, 5, 3)
    findings.look(1, tmp_path)
    save(tmp_path, 4, 2)
    findings.look(2, tmp_path)
    assert [complaint.partition(":")[2] for complaint in findings.complaints] == [
        " incarnation 2 after 3",
        " state of iteration 4 after 5",
    ]
    (tmp_path / MANIFEST_FILE).write_bytes(b"{")
    findings.look(3, tmp_path)
    assert "damaged" in findings.complaints[-1]
    (tmp_path / MANIFEST_FILE).unlink()
    findings.look(4, tmp_path)
    assert "no saved state" in findings.complaints[-1]
    assert "FAILED" in trials.report(findings, 1.0)[-1]


def test_life_that_starts_from_something_else_is_found(trials: ModuleType, tmp_path: Path) -> None:
    findings = trials.Findings()
    save(tmp_path, 5, 1)
    findings.look(1, tmp_path)
    findings.begins(1, resumed(4))
    findings.begins(2, StateRejected(reason="damaged", detail="half"))
    assert len(findings.complaints) == 2
    assert findings.resumed == 0


def test_blows_follow_from_the_seed_and_are_of_all_kinds(trials: ModuleType) -> None:
    one, other = ([trials.plan_blow(rng) for _ in range(100)] for rng in (random.Random(3), random.Random(3)))
    assert one == other
    assert Counter(blow.moment for blow in one).keys() == set(trials.Moment)


@pytest.mark.real
def test_peer_that_is_killed_six_times_resumes_every_time(trials: ModuleType, tmp_path: Path) -> None:
    assert trials.main(["--kills", "6", "--seed", "5", "--keep", str(tmp_path)]) == 0
