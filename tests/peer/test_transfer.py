"""One exchange moved over real links: what may arrive, when it is over, and what is thrown away."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import torch
from averaging_peers import Averager, averagers, relative_error, until, weighted_mean
from torch import Tensor

from marfl_peer.averaging import kernels
from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.float32 import FLOAT32, as_bytes
from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.digest import digest_of
from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.network.connection import Connection
from marfl_peer.peer import transfer as transfer_module
from marfl_peer.peer.flows import GroupFlow
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol import exchange as exchange_module
from marfl_peer.protocol.exchange import Span, plan_exchange
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Message, Part, Ready, Seat

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


def kind_of(peer: Averager) -> ExchangeKind:
    flow = peer.tools.flow
    assert isinstance(flow, GroupFlow)
    return flow.kind


def transfer_of(
    peer: Averager, peers: Sequence[Averager], ends: Ends, *, layout: Layout | None = None, base: Tensor | None = None
) -> Transfer:
    """With a `layout` values are encoded, against `base` [LENGTH]."""
    coder = None
    if layout is not None:
        coder = Coder(layout, base=torch.zeros(LENGTH) if base is None else base, residuals=Residuals(), salt=peer.me)
    return Transfer(
        tools=peer.tools.transfer,
        name=NAME,
        ballot=BALLOT,
        me=peer.me,
        plan=plan_exchange(
            members_of(peers),
            length=LENGTH,
            kind=kind_of(peer),
            is_coded=layout is not None,
            borders=layout.borders if layout else (),
        ),
        contribution=peer.own,
        result=torch.full((LENGTH,), float("nan")),
        coder=coder,
        on_complete=ends.complete,
        on_culprit=ends.culprits.append,
    )


@asynccontextmanager
async def receiving(layout: Layout | None = None) -> AsyncIterator[tuple[Transfer, PeerId, Ends]]:
    """A transfer of the first of two peers, begun; the other one; and what it comes to."""
    async with averagers(2, LENGTH) as peers:
        ends = Ends()
        transfer = transfer_of(peers[0], peers, ends, layout=layout)
        transfer.start()
        yield transfer, peers[1].me, ends
        transfer.abort()


def part_at(offset: int) -> Part:
    return Part(name=NAME, ballot=BALLOT, stage="scatter", offset=offset)


def fill(transfer: Transfer, sender: PeerId, data: bytes) -> None:
    """As the part that begins where the vector does."""
    for piece in transfer.room(sender, part_at(0), len(data)).pieces:
        piece[:], data = data[: len(piece)], data[len(piece) :]
    assert not data


def route(peer: Averager, transfer: Transfer) -> None:
    """Lets the peer's links speak to the transfer alone."""

    class Listener:
        def heard(self, sender: PeerId, message: object, payload: memoryview) -> None:
            match message:
                case ChunkDigest():
                    transfer.digest_arrived(sender, message)
                case Ready():
                    transfer.ready(sender)

        def room(self, sender: PeerId, message: object, length: int) -> memoryview | Room:
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

        def company(self) -> int:
            return 1

    peer.links._listener = Listener()


def begun(peers: Sequence[Averager]) -> tuple[list[Ends], list[Transfer]]:
    """A transfer of every peer, and what each comes to."""
    ends = [Ends() for _ in peers]
    transfers = [transfer_of(peer, peers, end) for peer, end in zip(peers, ends, strict=True)]
    for peer, transfer in zip(peers, transfers, strict=True):
        route(peer, transfer)
    for transfer in transfers:
        transfer.start()
    return ends, transfers


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
def test_transfer_moves_every_part_and_completes_once(on_both_loops, exchange) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH, exchange=exchange) as peers:
            ends, transfers = begun(peers)
            for peer in peers:
                for other in peers:
                    if other is not peer:
                        peer.links.send(other.me, Ready(name=NAME, ballot=BALLOT))
            await until(lambda: all(end.completions for end in ends))
            assert [end.completions for end in ends] == [1, 1, 1]
            assert all(torch.equal(transfer.result, transfers[0].result) for transfer in transfers)
            assert all(not end.culprits for end in ends)
            spans = {(seal.start, seal.stop) for seal in transfers[0].digests.values()}
            assert sum(stop - start for start, stop in spans) == LENGTH

    on_both_loops(main())


def test_digest_goes_with_the_last_of_its_chunk(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, bool]] = []
    send = Connection.send

    def noting(connection: Connection, message: Message, *payload: memoryview, then: Message | None = None) -> None:
        if isinstance(message, Part | ChunkDigest):
            kind = message.stage if isinstance(message, Part) else "digest"
            sent.append((kind, isinstance(then, ChunkDigest)))
        send(connection, message, *payload, then=then)

    monkeypatch.setattr(Connection, "send", noting)

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            ends, _ = begun(peers)
            for peer, other in itertools.permutations(peers, 2):
                peer.links.send(other.me, Ready(name=NAME, ballot=BALLOT))
            await until(lambda: all(end.completions for end in ends))
            assert sorted(sent) == [("gather", True)] * 2 + [("scatter", False)] * 2

    on_loop(main())


def layout_of(theta: str, momentum: str) -> Layout:
    return Layout(
        (
            Section(0, 333, codec_named(theta), is_delta=True),
            Section(333, 990, codec_named(momentum), is_delta=False),
            Section(990, LENGTH, FLOAT32, is_delta=False),
        )
    )


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
@pytest.mark.parametrize("theta", ["int8", "topk:0.1", "float32"])
def test_encoded_values_are_the_same_bits_at_everybody(on_both_loops, exchange, theta: str) -> None:
    """Each encodes with chances of its own: only what is sent decides."""

    async def main() -> None:
        async with averagers(3, LENGTH, exchange=exchange) as peers:
            base, layout = peers[0].own.clone(), layout_of(theta, "int4")
            for peer in peers:
                peer.own = base + 0.01 * peer.own
            ends = [Ends() for _ in peers]
            transfers = [
                transfer_of(peer, peers, end, layout=layout, base=base) for peer, end in zip(peers, ends, strict=True)
            ]
            for peer, transfer in zip(peers, transfers, strict=True):
                route(peer, transfer)
            for transfer in transfers:
                transfer.start()
            for peer in peers:
                for other in peers:
                    if other is not peer:
                        peer.links.send(other.me, Ready(name=NAME, ballot=BALLOT))
            await until(lambda: all(end.completions for end in ends))
            assert all(torch.equal(transfer.result, transfers[0].result) for transfer in transfers)
            exact = weighted_mean(peers)
            assert (transfers[0].result - exact)[:333].abs().max() < 0.1
            assert relative_error(transfers[0].result[990:], exact[990:]) < 1e-6
            sent = sum(peer.traffic.sent["tensor"] for peer in peers)
            assert sent < (2 if exchange == "butterfly" else 3) * 2 * 4 * LENGTH * 0.7
            # everybody has something left over of what it encoded, and of nothing else
            encoded = [{start for start in transfer.left_over() if start < 990} for transfer in transfers]
            assert all(encoded)
            for transfer in transfers:
                transfer.settle()
            await until(lambda: not any(transfer._encoded for transfer in transfers))
            assert not any(len(transfer.left_over()) for transfer in transfers)

    on_both_loops(main())


@pytest.mark.parametrize("theta", ["int8", "bfloat16"])
def test_owner_with_kernels_and_one_without_come_to_the_same_bits(
    on_loop, monkeypatch: pytest.MonkeyPatch, theta: str
) -> None:
    """The first decodes, averages and encodes in one go what came; the second step by step."""
    if kernels.native is None:
        pytest.skip("built without a compiler: there is only numpy")
    layout = layout_of(theta, "int4")

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            base = peers[0].own.clone()
            for peer in peers:
                peer.own = base + 0.01 * peer.own
            seen = []
            for native in (kernels.native, None):
                monkeypatch.setattr(kernels, "native", native)
                transfer = transfer_of(peers[0], peers, Ends(), layout=layout, base=base)
                transfer.start()
                for peer in peers[1:]:
                    coder = Coder(layout, base=base, residuals=Residuals(), salt=peer.me)
                    data = coder.encode_part(peer.own.numpy(), 0, 333).tobytes()
                    for piece in transfer.room(peer.me, part_at(0), len(data)).pieces:
                        piece[:] = data
                assert len(transfer._encoded_parts) == len(transfer._parts) == 0
                mean = transfer._encoded["gather", peers[0].me, 0].tobytes()
                left = transfer.left_over().at(0)
                assert left is not None
                seen.append((mean, transfer.result[:333].numpy().tobytes(), left.numpy().tobytes()))
                assert (transfer.result - weighted_mean(peers))[:333].abs().max() < 0.01
                transfer.abort()
            assert seen[0] == seen[1]

    on_loop(main())


def test_what_was_encoded_is_kept_until_all_is_sent_and_where_the_line_ended_without_it(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            ends = [Ends(), Ends()]
            one, other = (
                transfer_of(peer, peers, end, layout=layout_of("int8", "int4"))
                for peer, end in zip(peers, ends, strict=True)
            )
            route(peers[0], one)
            route(peers[1], other)
            one.start()
            other.start()
            one.ready(peers[1].me)
            await until(lambda: peers[0].traffic.sent["tensor"] > 0 and not any(one._outboxes.values()))
            one.settle()  # by a result that was fetched, say: this ballot may still complete at others
            assert one._encoded
            assert len(one.left_over())
            other.ready(peers[0].me)
            await until(lambda: all(end.completions for end in ends))
            one._outboxes[peers[1].me].append(("gather", Span(0, 333)))
            one.settle()
            assert one._encoded
            one._outboxes[peers[1].me].clear()
            one.settle()
            assert not one._encoded

    on_loop(main())


@pytest.mark.parametrize(("offset", "length"), [(0, 335), (0, 336), (0, 1332), (4, 335), (1332, 334)])
def test_encoded_segment_of_another_size_is_refused(on_loop, offset: int, length: int) -> None:
    """Peer 0 owns floats 0..500: 333 of theta as int8 with 3 scales (339 bytes), then 167 of momentum as int4 (88)."""

    async def main() -> None:
        async with receiving(layout_of("int8", "int4")) as (transfer, sender, _):
            with pytest.raises(RemoteProtocolError) as caught:
                transfer.room(sender, part_at(offset), length)
            assert caught.value.code == "bad_span"
            for good, size in ((0, 339), (4 * 333, 88)):
                assert len(next(transfer.room(sender, part_at(good), size).pieces)) == size

    on_loop(main())


def test_bytes_that_stand_for_no_values_are_their_senders_fault(on_loop) -> None:
    async def main() -> None:
        async with receiving(layout_of("topk:0.1", "int4")) as (transfer, sender, ends):
            with pytest.raises(RemoteProtocolError) as caught:
                fill(transfer, sender, b"\xff" * 6 * 34)
            assert caught.value.code == "bad_codec"
            assert ends.completions == 0

    on_loop(main())


@pytest.mark.parametrize(("layout", "size"), [(None, 2000), (layout_of("int8", "int4"), 339)])
def test_values_that_are_not_finite_name_who_sent_them(on_loop, layout: Layout | None, size: int) -> None:
    async def main() -> None:
        async with receiving(layout) as (transfer, sender, ends):
            fill(transfer, sender, b"\xff" * size)
            assert ends.culprits == [sender]
            assert ends.completions == 0

    on_loop(main())


def test_nothing_is_sent_to_a_member_that_is_not_ready(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfer = transfer_of(peers[0], peers, Ends())
            transfer.start()
            for _ in range(20):
                await asyncio.sleep(0)
            assert peers[0].traffic.sent["tensor"] == 0
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
        async with receiving() as (transfer, sender, _):
            with pytest.raises(RemoteProtocolError) as caught:
                transfer.room(sender, part_at(offset), length)
            assert caught.value.code == "bad_span"
            assert len(next(transfer.room(sender, part_at(0), 2000).pieces)) == 2000

    on_loop(main())


def test_part_that_comes_twice_or_from_a_stranger_is_refused(on_loop) -> None:
    async def main() -> None:
        async with receiving() as (transfer, sender, _):
            fill(transfer, sender, bytes(as_bytes(torch.ones(500))))
            for another in (sender, PeerId("f" * 40)):
                with pytest.raises(RemoteProtocolError):
                    transfer.room(another, part_at(0), 2000)

    on_loop(main())


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 floats, of which a frame holds four: peer 0's chunk of 500 has five."""
    monkeypatch.setattr(exchange_module, "SEGMENT_FLOATS", 100)
    monkeypatch.setattr(exchange_module, "MAX_PAYLOAD_BYTES", 4 * 400)
    monkeypatch.setattr(exchange_module, "FAR_RUN_BYTES", 2 * 400)


def test_segments_of_a_run_are_combined_as_they_come(on_loop, small_segments) -> None:
    async def main() -> None:
        async with receiving() as (transfer, sender, _):
            pieces = transfer.room(sender, part_at(400), 3 * 400).pieces
            for combined in range(4):
                if (piece := next(pieces, None)) is not None:
                    piece[:] = bytes(as_bytes(torch.ones(100)))
                there = torch.isfinite(transfer.result[:500]).reshape(5, 100)
                assert there.all(dim=1).tolist() == [False] + [True] * combined + [False] * (4 - combined)
                assert there.any(dim=1).tolist() == there.all(dim=1).tolist()

    on_loop(main())


@pytest.mark.parametrize(("is_local", "lengths"), [(True, [200, 100]), (False, [100, 100, 100])])
def test_results_from_this_machine_are_taken_in_pieces_that_hold_nothing_else_up(
    on_loop, small_segments, monkeypatch: pytest.MonkeyPatch, is_local: bool, lengths: list[int]
) -> None:
    monkeypatch.setattr(transfer_module, "LONGEST_PIECE_FLOATS", 250)
    part = Part(name=NAME, ballot=BALLOT, stage="gather", offset=4 * 600)

    async def main() -> None:
        async with receiving() as (transfer, sender, _):
            connection = transfer._tools.links.connection(sender)
            assert connection is not None
            connection.is_local = is_local
            pieces = transfer.room(sender, part, 3 * 400).pieces
            assert [len(piece) for piece in pieces] == [4 * length for length in lengths]

    on_loop(main())


def bring(transfer: Transfer, peer: Averager, start: int, stop: int) -> None:
    """A frame with these floats of a peer's vector."""
    data = as_bytes(peer.own[start:stop])
    for piece in transfer.room(peer.me, part_at(4 * start), 4 * (stop - start)).pieces:
        piece[:], data = data[: len(piece)], data[len(piece) :]


@pytest.mark.parametrize("piece_floats", [30, 100, 250, 1000])
def test_frames_that_each_member_cuts_in_its_own_way_come_to_the_same_bits(
    on_loop, small_segments, monkeypatch: pytest.MonkeyPatch, piece_floats: int
) -> None:
    """Peer 0 owns floats 0..333: segments of 100, 100, 100 and 33."""
    monkeypatch.setattr(transfer_module, "PIECE_FLOATS", piece_floats)

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            whole, cut = (transfer_of(peers[0], peers, Ends()) for _ in range(2))
            for transfer in (whole, cut):
                transfer.start()
            for peer in peers[1:]:
                bring(whole, peer, 0, 333)
            for peer, start, stop in [(1, 200, 300), (2, 100, 333), (1, 0, 200), (2, 0, 100), (1, 300, 333)]:
                bring(cut, peers[peer], start, stop)
            assert torch.equal(cut.result[:333], whole.result[:333])
            assert relative_error(cut.result[:333], weighted_mean(peers)[:333]) < 1e-6
            assert cut._hasher.digest() == whole._hasher.digest() == digest_of(as_bytes(whole.result[:333]))
            tools = peers[0].tools.transfer
            assert len(tools.segments) == 5, "as many as were out at once, and all are back"
            for transfer in (whole, cut):
                transfer.abort()

    on_loop(main())


@pytest.mark.parametrize("bad", [0, 199, 332])
def test_who_sent_what_is_not_finite_is_found_wherever_it_is(
    on_loop, small_segments, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    monkeypatch.setattr(transfer_module, "PIECE_FLOATS", 40)

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            ends = Ends()
            transfer = transfer_of(peers[0], peers, ends)
            transfer.start()
            peers[2].own[bad] = float("inf")
            bring(transfer, peers[2], 0, 333)
            bring(transfer, peers[1], 0, 333)
            assert ends.culprits == [peers[2].me]

    on_loop(main())


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 5 * 400), (800, 4 * 400), (0, 600), (200, 800), (0, 0), (800, 400), (400, 800)]
)
def test_run_is_refused_that_is_too_long_or_not_of_whole_awaited_segments(
    on_loop, small_segments, offset: int, length: int
) -> None:
    """Five segments; one of peer 1's; a half; from a half on; none; one that is on its way; one that is and one that
    is not."""

    async def main() -> None:
        async with receiving() as (transfer, sender, _):
            transfer.room(sender, part_at(800), 400)
            with pytest.raises(RemoteProtocolError) as caught:
                transfer.room(sender, part_at(offset), length)
            assert caught.value.code == "bad_span"

    on_loop(main())


@pytest.mark.parametrize("is_near", [True, False])
def test_segments_that_follow_each_other_travel_as_one_frame_and_on_a_far_path_as_shorter_ones(
    on_both_loops, small_segments, monkeypatch: pytest.MonkeyPatch, is_near: bool
) -> None:
    """Peer 1's chunk has five; four are the most of a frame, two that of a far one."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            transfers = [transfer_of(peer, peers, Ends()) for peer in peers]
            for peer, transfer in zip(peers, transfers, strict=True):
                route(peer, transfer)
                transfer.start()
            connection = peers[0].links.connection(peers[1].me)
            assert connection is not None
            connection.is_near = is_near
            came: list[int] = []
            before = transfers[1].room
            monkeypatch.setattr(
                transfers[1], "room", lambda sender, part, length: came.append(length) or before(sender, part, length)
            )
            transfers[0].ready(peers[1].me)
            await until(lambda: sum(came) == 2000)
            assert came == ([1600, 400] if is_near else [800, 800, 400])
            for transfer in transfers:
                transfer.abort()

    on_both_loops(main())


def test_run_of_encoded_segments_is_decoded_wherever_they_begin(on_loop) -> None:
    """The first has 339 bytes: the second begins where no number can."""
    layout = layout_of("int8", "bfloat16")

    async def main() -> None:
        async with receiving(layout) as (transfer, sender, ends):
            values, encoded = torch.linspace(-1, 1, LENGTH), bytearray()
            coder = Coder(layout, base=torch.zeros(LENGTH), residuals=Residuals(), salt=sender)
            decoded = []
            for start, stop in ((0, 333), (333, 500)):
                data, kept = coder.encode_result(values[start:stop].numpy(), start)
                encoded += data.tobytes()
                decoded.append(torch.from_numpy(kept.copy()))
            arrived = []
            transfer._tools = replace(
                transfer._tools, strategy=lambda out, parts, *_: arrived.append(torch.tensor(parts[1])) or out.fill(0)
            )
            fill(transfer, sender, bytes(encoded))
            assert all(torch.equal(one, other) for one, other in zip(arrived, decoded, strict=True))
            assert not ends.culprits

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


def test_digest_of_an_empty_chunk_is_refused(on_loop) -> None:
    """It begins where another's chunk does, and would stand in the place of that one's digest."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            plan = plan_exchange(members_of(peers), length=LENGTH, kind="butterfly", shares=(0, 0, 1000))
            transfer = Transfer(
                tools=peers[0].tools.transfer,
                name=NAME,
                ballot=BALLOT,
                me=peers[0].me,
                plan=plan,
                contribution=peers[0].own,
                result=torch.empty(LENGTH),
                on_complete=Ends().complete,
                on_culprit=Ends().culprits.append,
            )
            seals = [peer.tools.transfer.sealer.seal(NAME, BALLOT, plan.chunks[peer.me], b"d" * 32) for peer in peers]
            with pytest.raises(RemoteProtocolError):
                transfer.digest_arrived(peers[1].me, seals[1])
            transfer.digest_arrived(peers[2].me, seals[2])
            assert transfer.digests == {0: seals[2]}
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
