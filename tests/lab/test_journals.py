"""Figures of a run from journals alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.facts import Fact, PeerStarted
from marfl_peer.lab.journals import journals_in, run_of_journals
from marfl_peer.observe.journal import Journal


def write(path: Path, *facts: Fact, first_at: float = 100.0) -> Path:
    """A journal with a fact a second."""
    seconds = iter(range(10_000))
    with Journal(path, wall=lambda: first_at + next(seconds)) as journal:
        for fact in facts:
            journal(fact)
    return path


def life(told, *, stopped: str | None = "finished", iterations: int = 2, accuracy: int = 9) -> list[Fact]:
    facts: list[Fact] = [told.started(), told.view(1, 3, (3,))]
    for iteration in range(1, iterations + 1):
        facts += [
            told.group(iteration, 1, 0, "complete"),
            told.finished(iteration, tensor=100, control=10),
            told.evaluated(iteration, accuracy, 10),
        ]
    return [*facts, *([] if stopped is None else [told.stopped(stopped)])]


def swarm(folder: Path, told, *ends: str | None) -> list[Path]:
    return [
        write(folder / f"peer-{index:03d}" / "journal.jsonl", *life(told, stopped=end), first_at=100.0 + index)
        for index, end in enumerate(ends)
    ]


def test_journals_are_those_of_the_peers_or_the_one_of_a_peer(told, tmp_path: Path) -> None:
    assert journals_in(tmp_path) == []
    (own,) = journals_in(write(tmp_path / "own" / "journal.jsonl", told.started()).parent)
    assert own == tmp_path / "own" / "journal.jsonl"
    assert journals_in(tmp_path / "s") == []
    assert swarm(tmp_path / "s", told, "finished", "finished") == journals_in(tmp_path / "s")


def test_run_of_a_killed_swarm_is_added_up(told, tmp_path: Path) -> None:
    run = run_of_journals(swarm(tmp_path, told, "finished", None, "left"), name="n", origin="o")
    assert (run.run_id, run.task, run.peers, run.grid, run.group_size, run.name) == ("r", "digits", 3, (3,), 3, "n")
    assert (run.peers_started, run.peers_finished, run.peers_lost, run.heard) == (3, 1, 1, None)
    assert [row.iteration for row in run.iterations] == [1, 2]
    assert run.iterations[0].bytes_sent == {"tensor": 300, "control": 30, "dht": 0, "state": 0}
    assert run.iterations[0].groups_complete == 1
    assert run.final_accuracy == pytest.approx(0.9)
    assert run.bytes_sent_per_peer_per_iteration["tensor"] == 100
    assert run.vector_bytes == 96
    assert run.wall_seconds == 10.0, "from the first fact of the first to the last fact of the last"


def test_journal_of_one_peer_says_of_how_many_it_is(told, tmp_path: Path) -> None:
    run = run_of_journals([write(tmp_path / "journal.jsonl", *life(told))], name="n", origin="o")
    assert (run.peers, run.heard) == (3, 1)


def test_only_the_newest_run_of_a_folder_counts(told, tmp_path: Path) -> None:
    def other(run_id: str) -> PeerStarted:
        return PeerStarted(peer_id="a" * 40, incarnation=1, run_id=run_id, host="h", port=1, task="mnist")

    earlier = [other("old"), told.finished(7, tensor=1)]
    first = write(tmp_path / "peer-000" / "journal.jsonl", *earlier, *life(told, stopped=None), *life(told))
    write(tmp_path / "peer-001" / "journal.jsonl", *earlier, first_at=0.0)
    run = run_of_journals(journals_in(tmp_path), name="n", origin="o")
    assert (run.run_id, run.peers_started, run.peers_finished) == ("r", 1, 1)
    assert [row.iteration for row in run.iterations] == [1, 2]
    assert first.is_file()


def test_rotated_and_torn_journals_are_read_as_far_as_they_go(told, tmp_path: Path) -> None:
    facts = life(told)
    path = write(tmp_path / "journal.jsonl", *facts[4:])
    write(tmp_path / "journal.jsonl.1", *facts[:4], first_at=50.0)
    with path.open("ab") as journal:
        journal.write(b'{"at":1.0,"fact":"IterationFin')
    run = run_of_journals([path], name="n", origin="o")
    assert [row.iteration for row in run.iterations] == [1, 2]
    assert run.peers_finished == 1


@pytest.mark.parametrize("content", ["", "no json\n", '{"at": 1.0, "fact": "Unheard"}\n'])
def test_journals_without_a_peer_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "journal.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=r"place: holds no journal of a peer that was started"):
        run_of_journals(journals_in(tmp_path), name="n", origin="place")


def test_run_without_an_iteration_is_refused(told, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="place: no peer finished an iteration"):
        run_of_journals([write(tmp_path / "journal.jsonl", told.started())], name="n", origin="place")
