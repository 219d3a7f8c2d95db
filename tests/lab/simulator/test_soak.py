"""A soak writes down what it ran, goes on where it stopped, and counts nothing that other code did."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from marfl_peer.lab.simulator import soak as soaking
from marfl_peer.lab.simulator.soak import Result, Totals, code_digest, known, run_seed, soak


def _result(seed: int, code: str = "this", **changes: object) -> Result:
    plain = {"code": code, "seed": seed, "peers": 5, "cpu_s": 0.5, "virtual_s": 10.0, "digest": f"d{seed}", **changes}
    return msgspec.convert(plain, Result)


def test_run_seed_is_the_same_run_twice() -> None:
    one, again = run_seed(42, "this"), run_seed(42, "this")
    assert one.digest == again.digest
    assert one.coverage == again.coverage
    assert one.coverage["ABSENT ARRIVED"] > 0


def test_known_results_are_those_of_this_code(tmp_path: Path) -> None:
    log = tmp_path / "soak.jsonl"
    lines = [msgspec.json.encode(_result(1)), msgspec.json.encode(_result(2, "other")), b'{"code": "this", "se']
    log.write_bytes(b"\n".join(lines))
    assert known(log, "this") == {1: _result(1)}
    assert known(tmp_path / "none", "this") == {}


def test_soak_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def run_quickly(seed: int, code: str) -> Result:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(seed)
        return _result(seed, code, violations=[("I1", "broken")] if seed == 2 else [], coverage={"x": seed})

    monkeypatch.setattr(soaking, "run_seed", run_quickly)
    log = tmp_path / "folder" / "soak.jsonl"
    told: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        soak(range(1, 5), log=log, workers=1, on_result=lambda result, _: told.append(result.seed))
    assert told == ran == [1, 2]
    ran.clear()
    totals = soak(range(1, 5), log=log, workers=1, on_result=lambda result, _: told.append(result.seed))
    assert ran == [3, 4]
    assert (totals.seeds, totals.peers, totals.cpu_s, totals.virtual_s) == (4, 20, 2.0, 40.0)
    assert [result.seed for result in totals.broken] == [2]
    assert totals.coverage == {"x": 10}


def test_soak_runs_in_several_processes(tmp_path: Path) -> None:
    totals = soak(range(1, 3), log=tmp_path / "soak.jsonl", workers=2, on_result=lambda _, __: None)
    assert totals.seeds == 2
    assert sorted(known(tmp_path / "soak.jsonl", code_digest())) == [1, 2]


def test_code_digest_changes_with_the_code(tmp_path: Path) -> None:
    module = tmp_path / "a.py"
    module.write_text("x = 1")
    before = code_digest(tmp_path)
    module.write_text("x = 2")
    assert code_digest(tmp_path) != before


def test_totals_of_nothing_are_nothing() -> None:
    assert (Totals().seeds, Totals().broken) == (0, [])
