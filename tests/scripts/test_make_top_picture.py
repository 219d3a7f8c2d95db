"""The picture of `top` is drawn from a swarm's own folders and answers, and the one in docs/ shows what it should."""

from __future__ import annotations

import asyncio
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from marfl_peer.facts import IterationFinished, PeerStarted, encode_fact
from marfl_peer.lab.churn.reading import read_plan
from marfl_peer.observe.status import Status
from marfl_peer.observe.top.rows import Row

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("make_top_picture")


def shown(svg: str) -> str:
    """The text of a picture, as one reads it."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ")


def rows(count: int) -> list[Row]:
    """Peers of a grid of 2 x count / 2, the last one of which does not answer."""
    answering = [
        Row(
            address=f"127.0.0.1:{4000 + index}",
            status=Status(
                peer_id=f"{index:08x}" * 5,
                iteration=30,
                iterations=4000,
                phase="training",
                coordinates=(index % 2, index),
            ),
            now=10.0,
        )
        for index in reversed(range(count - 1))
    ]
    return [*answering, Row(address="127.0.0.1:5000", trouble="Connection refused", peer_id="f" * 40, now=10.0)]


def write_journal(folder: Path, *, finished: int) -> None:
    started = PeerStarted(peer_id="ab" * 20, incarnation=1, run_id="demo", host="127.0.0.1", port=4711, task="digits")
    facts = [started, *(iteration(number) for number in range(1, finished + 1))]
    path = folder / "demo-1" / "peer-000" / "journal.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(encode_fact(fact).rstrip(b"\n") + b"\n" for fact in facts) + b'{"half')


def iteration(number: int) -> IterationFinished:
    return IterationFinished(
        iteration=number,
        seconds=0.1,
        weight=90,
        projection=(0.0,),
        train_loss=None,
        evaluated_iteration=None,
        test_accuracy=None,
        test_loss=None,
        groups_complete=2,
        groups_partial=0,
        peers=16,
        bytes_sent={},
        dht_lookups=0,
    )


@pytest.mark.parametrize(("finished", "found"), [(4, None), (5, ("127.0.0.1", 4711))])
def test_swarm_is_looked_at_when_it_is_under_way(
    pictures: ModuleType, tmp_path: Path, finished: int, found: tuple[str, int] | None
) -> None:
    write_journal(tmp_path, finished=finished)
    assert pictures.ready_peer(tmp_path) == found


def test_folder_without_a_peer_is_not_ready(pictures: ModuleType, tmp_path: Path) -> None:
    assert pictures.ready_peer(tmp_path) is None


def test_picture_shows_the_command_and_all_peers_in_the_order_of_their_cells(pictures: ModuleType) -> None:
    svg = pictures.drawn(rows(6), asked="127.0.0.1:4000", seconds=0.2)
    text = shown(svg)
    assert "marfl-peer top --peer 127.0.0.1:4000" in text
    places = [text.index(f"{index:08x}") for index in (0, 2, 4, 1, 3)]
    assert places == sorted(places)
    assert "6 peers, 1 unreachable" in text
    assert "Connection refused" in text
    assert not re.search(r"(?:href=\"|url\(\"?)https?:", svg)
    assert svg == pictures.drawn(rows(6), asked="127.0.0.1:4000", seconds=0.2)


def test_picture_is_taken_when_somebody_is_gone(
    pictures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    class Answers:
        def __init__(self, addresses: list[tuple[str, int]], *, timeout_s: float) -> None:
            asked.extend(addresses)

        async def round(self) -> list[Row]:
            return rows(4)

    monkeypatch.setattr(pictures, "Canvass", Answers)
    write_journal(tmp_path, finished=9)
    assert "Connection refused" in shown(asyncio.run(pictures.picture_of(tmp_path)))
    assert asked == [("127.0.0.1", 4711)]


def test_plan_of_the_swarm_is_one_that_swarm_takes(pictures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "churn.toml").write_text(pictures.CHURN)
    plan = read_plan(str(tmp_path / "churn.toml"), seed=0, peers=pictures.PEERS, iterations=4000)
    assert [event.iteration for event in plan.events] == [pictures.KILLED_IN]


def test_picture_in_the_documentation_is_of_a_whole_swarm(pictures: ModuleType) -> None:
    svg = pictures.PICTURE.read_text(encoding="utf-8")
    assert "marfl-peer top --peer 127.0.0.1:" in shown(svg)
    assert f"{pictures.PEERS} peers, 1 unreachable" in shown(svg)
    assert len(set(re.findall(r"127\.0\.0\.1:\d+ ", shown(svg)))) >= pictures.PEERS
    assert not re.search(r"(?:href=\"|url\(\"?)https?:", svg)


def test_make_draws_both_pictures() -> None:
    recipe = re.search(r"(?m)^picture:.*\n((?:\t.*\n)+)", (SCRIPTS.parent / "Makefile").read_text(encoding="utf-8"))
    assert recipe is not None
    assert re.findall(r"scripts/(\w+)\.py", recipe[1]) == ["make_picture", "make_top_picture"]
