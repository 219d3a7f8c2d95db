"""Whom a peer looks for that is not in its view, in which order, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from averaging_peers import Averager, Shelf, averagers, statements_of, until

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import DhtError
from marfl_peer.facts import PeersCounted
from marfl_peer.ids import Iteration, PeerId, RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer import prober as prober_module
from marfl_peer.peer.acquaintances import Acquaintances, Address
from marfl_peer.peer.inquiry import NoAnswer
from marfl_peer.peer.prober import Prober
from marfl_peer.peer.reunion import Reunion
from marfl_peer.peer.roster import MEMBER_BUCKETS, Roster, bucket_of
from marfl_peer.protocol import records
from marfl_peer.protocol.view import FOUNDING


class Searcher:
    """A peer in a view of its own, with a prober; `dialled` and `asked` are what it tried."""

    def __init__(self, peer: Averager, folder: Path, shelf: Shelf, *, bootstrap: tuple[str, ...] = ()) -> None:
        self.peer, self.shelf = peer, shelf
        self.dialled: list[PeerId] = []
        self.asked: list[Address] = []
        self.answers: dict[Address, dict[str, Any]] = {}
        self.roster = Roster(
            me=peer.me,
            run_id=RunId("run"),
            group_size=4,
            links=peer.links,
            clock=Clock(),
            tell=peer.facts.append,
            on_news=lambda events: None,
        )
        statements = statements_of(peer.identity, peer.port)
        self.acquaintances = Acquaintances(
            Settings(run_id="run", state_dir=folder, bootstrap=bootstrap), own=lambda: ("127.0.0.1", peer.port)
        )
        self.prober = Prober(
            roster=self.roster,
            reunion=Reunion(
                me=peer.me,
                roster=self.roster,
                links=peer.links,
                on_behind=peer.behind.append,
                on_beat=lambda _, iteration: peer.beats.append(iteration),
                on_unheard=peer.unheard.append,
            ),
            links=peer.links,
            dht=shelf,  # type: ignore[arg-type]  # a stand-in with the methods that are used
            acquaintances=self.acquaintances,
            clock=Clock(),
            tell=peer.facts.append,
            member_record=statements.member,
            ask=self._ask,
        )
        self.roster.started = True
        self.join(peer.identity, peer.port)
        self.roster.iteration = Iteration(5)
        peer.links.connect = self.dialled.append

    def join(self, identity: Identity, port: int) -> None:
        self.roster.state_joined(records.encode(statements_of(identity, port).member()), FOUNDING)

    def lose(self, identity: Identity) -> None:
        self.roster.state_gone(identity.peer_id, "lost", "silent")

    async def _ask(self, host: str, port: int, timeout_s: float) -> dict[str, Any]:
        self.asked.append((host, port))
        if (host, port) not in self.answers:
            raise NoAnswer("nobody")
        return self.answers[host, port]


def strangers(count: int) -> list[Identity]:
    return sorted((Identity.ephemeral() for _ in range(count)), key=lambda identity: identity.peer_id)


def test_lost_peers_are_dialled_one_after_the_other(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            searcher = Searcher(peer, tmp_path, Shelf())
            others = strangers(4)
            for number, identity in enumerate(others):
                searcher.join(identity, 9000 + number)
            for identity in others[:3]:
                searcher.lose(identity)
            for _ in range(5):
                await searcher.prober.probe()
            ids = [identity.peer_id for identity in others]
            assert searcher.dialled == [ids[0], ids[1], ids[2], ids[0], ids[1]]
            assert searcher.asked == []

    on_loop(main())


def test_lost_peers_and_addresses_take_turns(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            searcher = Searcher(peer, tmp_path, Shelf(), bootstrap=("127.0.0.1:9000", "127.0.0.1:9001"))
            (lost,) = strangers(1)
            searcher.join(lost, 9001)
            searcher.lose(lost)
            for _ in range(4):
                await searcher.prober.probe()
            assert searcher.asked == [("127.0.0.1", 9000)] * 2, "where somebody known was needs no question"
            assert searcher.dialled == [lost.peer_id] * 2

    on_loop(main())


@pytest.mark.parametrize(
    ("answer", "is_dialled"),
    [
        ({"run_id": "run", "started": True, "peer_id": "a" * 40}, True),
        ({"run_id": "run", "started": False, "peer_id": "a" * 40}, False),
        ({"run_id": "another", "started": True, "peer_id": "a" * 40}, False),
        ({"run_id": "run", "started": True, "peer_id": 5}, False),
        ({}, False),
    ],
)
def test_only_a_running_peer_of_the_run_is_dialled(
    on_loop, tmp_path: Path, answer: dict[str, Any], is_dialled: bool
) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            searcher = Searcher(peer, tmp_path, Shelf(), bootstrap=("127.0.0.1:9000",))
            searcher.answers["127.0.0.1", 9000] = answer
            await searcher.prober.probe()
            assert searcher.dialled == (["a" * 40] if is_dialled else [])

    on_loop(main())


def test_all_buckets_are_read_and_strangers_in_them_dialled(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            shelf = Shelf()
            searcher = Searcher(peer, tmp_path, shelf)
            others = strangers(9)
            for number, identity in enumerate(others):
                await shelf.publish(statements_of(identity, 9000 + number).member(), purpose="member")
            searcher.join(others[0], 9000)
            shelf.purposes.clear()
            for _ in range(MEMBER_BUCKETS):
                await searcher.prober.refresh()
            in_order = sorted(others[1:], key=lambda identity: (bucket_of(identity.peer_id), identity.peer_id))
            assert sorted(searcher.dialled) == [identity.peer_id for identity in in_order]
            assert len(set(shelf.lookups)) == MEMBER_BUCKETS
            assert shelf.purposes == ["member"], "announced once in a life"
            peer.identity.raise_incarnation()
            await searcher.prober.refresh()
            assert shelf.purposes == ["member", "member"]

    on_loop(main())


def test_refresh_without_a_network_goes_on_with_the_next_bucket(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            shelf = Shelf()

            async def nowhere(addresses: object) -> int:
                raise DhtError("the node is not running")

            searcher = Searcher(peer, tmp_path, shelf)
            searcher.shelf.bootstrap = nowhere  # type: ignore[method-assign, assignment]
            await searcher.prober.refresh()
            assert shelf.lookups == []
            assert searcher.prober._bucket == 1

    on_loop(main())


def test_known_addresses_are_written_down_when_they_change(on_loop, tmp_path: Path) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            searcher = Searcher(peer, tmp_path, Shelf())
            (other,) = strangers(1)
            searcher.join(other, 9000)
            await searcher.prober.refresh()
            again = Acquaintances(Settings(run_id="run", state_dir=tmp_path), own=lambda: ("127.0.0.1", 1))
            assert again.addresses() == [("127.0.0.1", 9000)]

    on_loop(main())


def test_what_it_sees_is_told_when_it_changes(on_loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober_module, "TICK_S", 0.005)

    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            searcher = Searcher(peer, tmp_path, Shelf())
            (other,) = strangers(1)
            searcher.join(other, 9000)
            counted: list[PeersCounted] = []
            searcher.prober._tell = counted.append  # type: ignore[assignment]
            searcher.prober.open()
            await until(lambda: counted == [PeersCounted(seen=2, known=2)])
            await asyncio.sleep(0.02)
            searcher.lose(other)
            await until(lambda: len(counted) == 2)
            assert counted[1] == PeersCounted(seen=1, known=2)
            await searcher.prober.close()

    on_loop(main())
