"""Exchanges round a ring over real links on loopback: what comes out, what goes out, and neighbours that break the
rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import torch
from averaging_peers import average_all, averagers, relative_error, until, view_of, weighted_mean

from marfl_peer.averaging.codecs.float32 import as_bytes
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.lab.baselines.forwarding_transfer import ForwardingFlow
from marfl_peer.lab.baselines.passing_transfer import PassingTransfer
from marfl_peer.lab.baselines.ring_transfer import RingFlow
from marfl_peer.peer.flows import Flow, Order
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Part, Seat

FLOWS: dict[str, Flow] = {"ring": RingFlow(), "rdfl": ForwardingFlow()}
NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
LENGTH = 300
ALL_IN_ONE = 64


class Ends:
    def __init__(self) -> None:
        self.completions = 0
        self.culprits: list[PeerId] = []

    def complete(self) -> None:
        self.completions += 1


@asynccontextmanager
async def receiving(name: str) -> AsyncIterator[tuple[PassingTransfer, PeerId, Ends]]:
    """A transfer of the first of two peers, begun; the other one, its neighbour; and what it comes to."""
    async with averagers(2, LENGTH, flow=FLOWS[name]) as peers:
        members = [
            Member(peer_id=one.me, seats=(Seat(cell=cell, weight=1, sums=(), maxima=()),), update_s=0.0)
            for cell, one in enumerate(peers)
        ]
        ends = Ends()
        order = Order(
            tools=peers[0].tools.transfer,
            name=NAME,
            ballot=BALLOT,
            me=peers[0].me,
            members=members,
            contribution=peers[0].own,
            result=torch.full((LENGTH,), float("nan")),
            coder=None,
            borders=(),
            shares=(),
            on_complete=ends.complete,
            on_culprit=ends.culprits.append,
        )
        transfer = FLOWS[name].transfer(order)
        assert isinstance(transfer, PassingTransfer)
        transfer.start()
        yield transfer, peers[1].me, ends
        transfer.abort()


def fill(transfer: PassingTransfer, sender: PeerId, stage: str, start: int, values: torch.Tensor) -> None:
    part = Part(name=NAME, ballot=BALLOT, stage=stage, offset=4 * start)  # type: ignore[arg-type]  # a word of the wire
    data = as_bytes(values)
    room = transfer.room(sender, part, len(data))
    next(room.pieces)[:] = data
    assert next(room.pieces, None) is None


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_everybody_ends_with_the_same_mean(on_loop, name: str, count: int) -> None:
    async def main() -> None:
        async with averagers(count, LENGTH, flow=FLOWS[name]) as peers:
            for iteration in (1, 2):
                results = await average_all(peers, ALL_IN_ONE, iteration)
                for vector, holding in results:
                    assert relative_error(vector, weighted_mean(peers)) <= 1e-6
                    assert torch.equal(vector, results[0][0])
                    assert holding.weight == sum(peer.weight for peer in peers)
            assert all(peer.faults() == [] for peer in peers)

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
def test_member_without_weight_passes_on_and_takes_the_result(on_loop, name: str) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH, flow=FLOWS[name]) as peers:
            peers[1].weight = peers[2].weight = 0
            peers[1].own.fill_(float("nan"))  # nobody reads it
            peers[2].own.zero_()
            mean = (peers[0].own.double() * peers[0].weight + peers[3].own.double() * peers[3].weight) / (
                peers[0].weight + peers[3].weight
            )
            for vector, _ in await average_all(peers, ALL_IN_ONE):
                assert relative_error(vector, mean) <= 1e-6

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
def test_long_vectors_go_round_in_pieces(on_loop, name: str) -> None:
    async def main() -> None:
        length = 500_001
        async with averagers(3, length, flow=FLOWS[name]) as peers:
            results = await average_all(peers, ALL_IN_ONE)
            for vector, _ in results:
                assert relative_error(vector, weighted_mean(peers)) <= 1e-6
            sent = [peer.traffic.totals()["tensor"] for peer in peers]
            factor = 2 * 2 / 3 if name == "ring" else 2
            assert all(factor * 4 * length <= one <= 1.01 * factor * 4 * length for one in sent)

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_members_that_are_left_average_without_one_that_dies(on_loop, name: str, victim: int) -> None:
    async def main() -> None:
        async with averagers(4, 2_000_000, flow=FLOWS[name]) as peers:
            view = view_of(peers, ALL_IN_ONE)
            for peer in peers:
                peer.begin(view)
            works = [asyncio.create_task(peer.average()) for peer in peers]
            await until(lambda: sum(peer.traffic.totals()["tensor"] for peer in peers) > 2_000_000)
            peers[victim].die()
            works.pop(victim).cancel()
            left = [peer for peer in peers if not peer.is_dead]
            for peer in left:
                peer.rounds.gone(peers[victim].me)
            results = await asyncio.gather(*works)
            for vector, _ in results:
                assert relative_error(vector, weighted_mean(left)) <= 1e-6
                assert torch.equal(vector, results[0][0])
            assert {peer.outcomes()[-1] for peer in left} == {(1, "partial")}

    on_loop(main())


@pytest.mark.parametrize(("name", "start"), [("ring", 0), ("rdfl", LENGTH)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_neighbour_that_passes_on_what_is_not_finite_is_the_culprit(on_loop, name: str, start: int, bad: float) -> None:
    async def main() -> None:
        async with receiving(name) as (transfer, other, ends):
            length = LENGTH // 2 if name == "ring" else LENGTH
            values = torch.ones(length)
            values[-1] = bad
            fill(transfer, other, "scatter", start, values)
            assert ends.culprits == [other]
            assert not ends.completions

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize(("offset", "length"), [(1, 4), (0, 3), (0, 0), (4 * LENGTH * 2, 4), (4, 8)])
def test_payload_that_is_no_segment_is_refused(on_loop, name: str, offset: int, length: int) -> None:
    async def main() -> None:
        async with receiving(name) as (transfer, other, _):
            with pytest.raises(RemoteProtocolError):
                transfer.room(other, Part(name=NAME, ballot=BALLOT, stage="scatter", offset=offset), length)

    on_loop(main())


def digest(start: int, stop: int) -> ChunkDigest:
    return ChunkDigest(
        name=NAME,
        ballot=BALLOT,
        start=start,
        stop=stop,
        digest=bytes(32),
        signature=bytes(64),
        public_key=bytes(32),
    )


def test_chunk_that_is_not_what_its_owner_signed_is_not_taken(on_loop) -> None:
    async def main() -> None:
        async with receiving("ring") as (transfer, other, ends):
            transfer.ready(other)
            fill(transfer, other, "scatter", 0, torch.ones(LENGTH // 2))
            fill(transfer, other, "gather", LENGTH // 2, torch.ones(LENGTH // 2))
            assert not ends.culprits
            transfer.digest_arrived(other, digest(LENGTH // 2, LENGTH))
            assert ends.culprits == [other]
            assert not ends.completions

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
def test_digest_of_another_chunk_is_refused(on_loop, name: str) -> None:
    async def main() -> None:
        async with receiving(name) as (transfer, other, _):
            with pytest.raises(RemoteProtocolError):
                transfer.digest_arrived(other, digest(0, LENGTH // 2))
            with pytest.raises(RemoteProtocolError):
                transfer.digest_arrived(PeerId("f" * 40), digest(LENGTH // 2, LENGTH))

    on_loop(main())


@pytest.mark.parametrize("name", FLOWS)
def test_what_comes_after_the_end_changes_nothing(on_loop, name: str) -> None:
    async def main() -> None:
        async with receiving(name) as (transfer, other, ends):
            length, start = (LENGTH // 2, 0) if name == "ring" else (LENGTH, LENGTH)
            part = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=4 * start)
            room = transfer.room(other, part, 4 * length)
            transfer.abort()
            next(room.pieces)[:] = as_bytes(torch.full((length,), float("nan")))
            assert next(room.pieces, None) is None
            assert not ends.culprits
            assert not ends.completions

    on_loop(main())
