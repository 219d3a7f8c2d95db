"""One exchange moved over real links: what may arrive, when it is over, and what is thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import torch
from averaging_peers import Averager, averagers, until

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol.exchange import plan_exchange
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Part, Ready, Seat

NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
LENGTH = 1000


class Ends:
    """What a transfer came to."""

    def __init__(self) -> None:
        self.completions = 0
        self.culprits: list[PeerId] = []

    def complete(self) -> None:
        self.completions += 1


def members_of(peers: Sequence[Averager]) -> list[Member]:
    return [
        Member(peer_id=peer.me, seats=(Seat(cell=cell, weight=peer.weight, sums=(), maxima=()),), update_s=0.0)
        for cell, peer in enumerate(peers)
    ]


def transfer_of(peer: Averager, peers: Sequence[Averager], ends: Ends) -> Transfer:
    return Transfer(
        tools=peer.tools.transfer,
        name=NAME,
        ballot=BALLOT,
        me=peer.me,
        plan=plan_exchange(members_of(peers), length=LENGTH, kind=peer.tools.exchange),
        contribution=peer.own,
        result=torch.full((LENGTH,), float("nan")),
        on_complete=ends.complete,
        on_culprit=ends.culprits.append,
    )


def route(peer: Averager, transfer: Transfer) -> None:
    """Lets the peer's links speak to the transfer alone."""

    class Listener:
        def heard(self, sender: PeerId, message: object, payload: memoryview) -> None:
            match message:
                case Part():
                    transfer.part_arrived(sender, message, len(payload))
                case ChunkDigest():
                    transfer.digest_arrived(sender, message)
                case Ready():
                    transfer.ready(sender)

        def room(self, sender: PeerId, message: object, length: int) -> memoryview:
            if not isinstance(message, Part):
                return memoryview(b"")
            return transfer.room(sender, message, length)

        def asked(self, connection: Connection, message: object) -> None: ...

        def up(self, peer: PeerId) -> None: ...

        def down(self, peer: PeerId) -> None: ...

        def interrupted(self, peer: PeerId) -> None: ...

        def offended(self, peer: PeerId) -> None: ...

        def lost(self, peer: PeerId, reason: str) -> None: ...

        def iteration(self) -> int:
            return 0

    peer.links._listener = Listener()


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
def test_transfer_moves_every_part_and_completes_once(on_both_loops, exchange) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH, exchange=exchange) as peers:
            ends = [Ends() for _ in peers]
            transfers = [transfer_of(peer, peers, end) for peer, end in zip(peers, ends, strict=True)]
            for peer, transfer in zip(peers, transfers, strict=True):
                route(peer, transfer)
            for transfer in transfers:
                transfer.start()
            for peer in peers:
                for other in peers:
                    if other is not peer:
                        peer.links.send(other.me, Ready(name=NAME, ballot=BALLOT))
            await until(lambda: all(end.completions for end in ends))
            assert [end.completions for end in ends] == [1, 1, 1]
            assert all(torch.equal(transfer.result, transfers[0].result) for transfer in transfers)
            assert all(transfer.missing() == frozenset() for transfer in transfers)
            assert all(not end.culprits for end in ends)
            spans = {(seal.start, seal.stop) for seal in transfers[0].digests.values()}
            assert sum(stop - start for start, stop in spans) == LENGTH

    on_both_loops(main())


def test_nothing_is_sent_to_a_member_that_is_not_ready(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfer = transfer_of(peers[0], peers, Ends())
            transfer.start()
            for _ in range(20):
                await asyncio.sleep(0)
            assert peers[0].traffic.sent["tensor"] == 0
            assert transfer.missing() == {peers[1].me}
            transfer.ready(peers[1].me)
            await until(lambda: peers[0].traffic.sent["tensor"] >= 4 * LENGTH // 2)
            transfer.abort()

    on_loop(main())


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4), (2, 2000), (0, 1999), (2000, 2000), (4000, 4), (0, 2004), (2**60, 2000)]
)
def test_part_that_is_not_awaited_is_refused(on_loop, offset: int, length: int) -> None:
    """Peer 0 owns floats 0..500: 2000 bytes at 0 are what peer 1 may send it, and nothing else."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfer = transfer_of(peers[0], peers, Ends())
            transfer.start()
            part = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=offset)
            with pytest.raises(RemoteProtocolError) as caught:
                transfer.room(peers[1].me, part, length)
            assert caught.value.code == "bad_span"
            good = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)
            assert len(transfer.room(peers[1].me, good, 2000)) == 2000
            transfer.abort()

    on_loop(main())


def test_part_that_comes_twice_or_from_a_stranger_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfer = transfer_of(peers[0], peers, Ends())
            transfer.start()
            part = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)
            transfer.room(peers[1].me, part, 2000)[:] = bytes(as_bytes(peers[1].own[:500]))
            transfer.part_arrived(peers[1].me, part, 2000)
            for sender in (peers[1].me, PeerId("f" * 40)):
                with pytest.raises(RemoteProtocolError):
                    transfer.room(sender, part, 2000)
            transfer.abort()

    on_loop(main())


def test_digest_of_another_chunk_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfer = transfer_of(peers[0], peers, Ends())
            sealer = peers[1].tools.transfer.sealer
            mine = transfer.plan.chunks[peers[0].me]
            with pytest.raises(RemoteProtocolError):
                transfer.digest_arrived(peers[1].me, sealer.seal(NAME, BALLOT, mine, b"d" * 32))
            transfer.abort()

    on_loop(main())


def test_bad_values_name_who_sent_them(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            ends = Ends()
            transfer = transfer_of(peers[0], peers, ends)
            transfer.start()
            part = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)
            transfer.room(peers[1].me, part, 2000)[:] = b"\xff" * 2000
            transfer.part_arrived(peers[1].me, part, 2000)
            assert ends.culprits == [peers[1].me]
            assert ends.completions == 0
            transfer.abort()

    on_loop(main())


def test_aborted_transfer_does_not_complete(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            ends = Ends()
            transfer = transfer_of(peers[0], peers, ends)
            transfer.abort()
            transfer.start()
            for _ in range(20):
                await asyncio.sleep(0)
            assert ends.completions == 0

    on_loop(main())
