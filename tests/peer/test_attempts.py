"""What comes for a ballot goes to its exchange: before it runs, while it does, and after it was aborted."""

from __future__ import annotations

import sys

import pytest
import torch
from averaging_peers import Averager, averagers, until

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.network import neighbours
from marfl_peer.peer import attempts as attempts_module
from marfl_peer.peer.attempts import Attempts
from marfl_peer.peer.flows import AnyTransfer, GroupFlow
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Part, Ready, Seat

NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
ATTEMPT = (NAME, BALLOT)
LENGTH = 1000
READY = Ready(name=NAME, ballot=BALLOT)
PART = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)


class Swarm:
    """Two peers whose links speak to their attempts alone."""

    def __init__(self, peers: list[Averager]) -> None:
        self.peers = peers
        self.results: list[torch.Tensor] = []
        self.attempts = [
            Attempts(me=peer.me, tools=peer.tools.transfer, flow=GroupFlow("butterfly", "measured")) for peer in peers
        ]
        for peer, attempts in zip(peers, self.attempts, strict=True):

            def heard(sender, message, length, attempts=attempts) -> None:
                match message:
                    case Ready():
                        attempts.ready(sender, message)
                    case Part():
                        attempts.part_arrived(sender, message, length)
                    case ChunkDigest():
                        attempts.digest_arrived(sender, message)

            peer.aggregator.heard = heard
            peer.aggregator.room = attempts.room

    def open(self, index: int) -> None:
        members = [
            Member(peer_id=peer.me, seats=(Seat(cell=cell, weight=1, sums=(), maxima=()),), update_s=0.0)
            for cell, peer in enumerate(self.peers)
        ]
        self.attempts[index].open(
            ATTEMPT, members, self.peers[index].own, on_complete=self._complete, on_culprit=lambda culprit: None
        )

    def _complete(self, transfer: AnyTransfer) -> None:
        assert (transfer.name, transfer.ballot) == ATTEMPT
        self.results.append(transfer.result)

    def say_ready(self) -> None:
        one, other = self.peers
        one.links.send(other.me, READY)
        other.links.send(one.me, READY)


@pytest.mark.parametrize("early", [True, False])
def test_exchange_completes_whether_ready_comes_early_or_late(on_both_loops, early: bool) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            swarm = Swarm(peers)
            if early:
                swarm.say_ready()
                await until(lambda: all(attempts._early_ready for attempts in swarm.attempts))
            for index in range(2):
                swarm.open(index)
            if not early:
                swarm.say_ready()
            await until(lambda: len(swarm.results) == 2)
            assert torch.equal(swarm.results[0], swarm.results[1])
            assert torch.allclose(swarm.results[0], (peers[0].own + peers[1].own) / 2)
            assert [len(attempts) for attempts in swarm.attempts] == [1, 1]
            for attempts in swarm.attempts:
                attempts.close()

    on_both_loops(main())


def test_part_has_a_place_only_while_its_ballot_runs(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            swarm = Swarm(peers)
            attempts, other = swarm.attempts[0], peers[1].me
            assert attempts.room(other, PART, 4 * LENGTH // 2) is None
            swarm.open(0)
            room = attempts.room(other, PART, 4 * LENGTH // 2)
            assert room is not None
            assert len(next(room.pieces)) == 4 * LENGTH // 2
            with pytest.raises(RemoteProtocolError):
                attempts.room(other, PART, 3)
            attempts.abort(ATTEMPT)
            assert attempts.room(other, PART, 4 * LENGTH // 2) is None
            assert next(room.pieces, None) is None  # is of no ballot now, and no fault
            assert len(attempts) == 0

    on_loop(main())


def test_abort_of_a_ballot_that_never_began_does_nothing(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            attempts = Swarm(peers).attempts[0]
            attempts.abort(ATTEMPT)
            assert len(attempts) == 0

    on_loop(main())


def test_rest_forgets_what_runs(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            swarm = Swarm(peers)
            swarm.open(0)
            swarm.attempts[0].rest()
            assert len(swarm.attempts[0]) == 0

    on_loop(main())


def test_ballots_nobody_proposed_take_no_more_memory_than_allowed(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "MAX_EARLY", 3)

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            attempts = Swarm(peers).attempts[0]
            for number in range(10):
                ballot = Ballot(attempt=number, leader="a" * 40)
                attempts.ready(peers[1].me, Ready(name=NAME, ballot=ballot))
            assert len(attempts._early_ready) == 3

    on_loop(main())


@pytest.mark.parametrize("ends", ["complete", "abort", "rest"])
def test_uplink_is_measured_as_long_as_an_exchange_runs(on_loop, ends: str) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            swarm = Swarm(peers)
            uplink = peers[0].links.uplink
            for index in range(2):
                swarm.open(index)
            assert uplink._running == {ATTEMPT}
            match ends:
                case "complete":
                    swarm.say_ready()
                    await until(lambda: len(swarm.results) == 2)
                case "abort":
                    swarm.attempts[0].abort(ATTEMPT)
                case _:
                    swarm.attempts[0].rest()
            assert uplink._running == set()
            for attempts in swarm.attempts:
                attempts.close()

    on_loop(main())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts")
def test_exchange_of_a_large_vector_tells_how_fast_the_uplink_is(
    on_both_loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "can_be", lambda: False)  # of Unix sockets nothing is counted

    async def main() -> None:
        async with averagers(2, 2_000_000) as peers:
            swarm = Swarm(peers)
            for index in range(2):
                swarm.open(index)
            swarm.say_ready()
            await until(lambda: len(swarm.results) == 2)
            assert all(peer.links.uplink.bytes_per_s > 0 for peer in peers)
            for attempts in swarm.attempts:
                attempts.close()

    on_both_loops(main())
