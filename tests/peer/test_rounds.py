"""One iteration among real peers on loopback: the exact weighted mean, the same bits at everybody, losses survived."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import torch
from averaging_peers import Averager, average_all, averagers, relative_error, until, view_of, weighted_mean

from marfl_peer.averaging.codecs.layout import Layout, Section
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.facts import CellTakenOver
from marfl_peer.ids import PeerId, Round
from marfl_peer.peer.rounds import BaseState, Rounds
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol.exchange import SEGMENT_FLOATS
from marfl_peer.protocol.view import View

LENGTH = 1000


def assert_exact(peers: list[Averager], results: list[tuple[torch.Tensor, object]]) -> None:
    exact = weighted_mean(peers)
    for vector, _ in results:
        assert relative_error(vector, exact) <= 1e-6
        assert torch.equal(vector, results[0][0]), "not the same bits"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 10, 17, 23])
def test_iteration_ends_with_the_exact_weighted_mean(on_loop, count: int) -> None:
    async def main() -> None:
        async with averagers(count, LENGTH) as peers:
            results = await average_all(peers, 4)
            assert_exact(peers, results)
            total = sum(peer.weight for peer in peers)
            for _, holding in results:
                assert holding.weight == total
                assert holding.sums == (float(total), float(count))
                assert holding.maxima == (max(peer.weight for peer in peers),)
            for peer in peers:
                assert peer.faults() == []
                assert {outcome for _, outcome in peer.outcomes()} <= {"complete"}

    on_loop(main())


@pytest.mark.parametrize("count", [2, 5, 10])
def test_all_gather_ends_with_the_exact_weighted_mean(on_loop, count: int) -> None:
    async def main() -> None:
        async with averagers(count, LENGTH, exchange="all-gather") as peers:
            assert_exact(peers, await average_all(peers, 4))

    on_loop(main())


@pytest.mark.parametrize("length", [1, 3, SEGMENT_FLOATS + 1, 3 * SEGMENT_FLOATS])
def test_vector_of_any_length_is_averaged(on_both_loops, length: int) -> None:
    """Shorter than the group, and of several segments."""

    async def main() -> None:
        async with averagers(4, length) as peers:
            assert_exact(peers, await average_all(peers, 4))

    on_both_loops(main())


def test_peers_that_never_met_dial_when_they_need_to(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(6, LENGTH, connect=False) as peers:
            assert_exact(peers, await average_all(peers, 3))

    on_both_loops(main())


def test_peer_without_weight_gets_the_mean_and_changes_nothing(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, LENGTH) as peers:
            peers[2].weight = 0
            peers[2].own.fill_(1e30)
            results = await average_all(peers, 4)
            assert_exact(peers[:2] + peers[3:], results)

    on_loop(main())


def test_peers_without_any_weight_keep_what_they_have(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            for peer in peers:
                peer.weight = 0
            results = await average_all(peers, 4)
            assert all(torch.equal(vector, peer.own) for peer, (vector, _) in zip(peers, results, strict=True))

    on_loop(main())


@pytest.mark.parametrize(("exchange", "factor"), [("butterfly", 2 * 3 / 4), ("all-gather", 3.0)])
def test_tensor_bytes_agree_with_the_formula(on_loop, exchange, factor: float) -> None:
    """2 (M-1)/M S a member and round for butterfly, (M-1) S for all-gather, within 1 % at S = 1 MiB."""
    length = 256 * 1024

    async def main() -> None:
        async with averagers(4, length, exchange=exchange) as peers:
            await average_all(peers, 4)
            for peer in peers:
                assert peer.traffic.sent["tensor"] == pytest.approx(factor * 4 * length, rel=0.01)
                assert peer.traffic.sent["control"] < 0.02 * peer.traffic.sent["tensor"]
            await until(
                lambda: (
                    sum(peer.traffic.received_bytes for peer in peers)
                    == sum(sum(peer.traffic.sent.values()) for peer in peers)
                )
            )

    on_loop(main())


def unequal_links(peers: list[Averager]) -> set[PeerId]:
    """Gives one in five a link of a tenth, and returns those."""
    slow = {peer.me for peer in peers[1::5]}
    for peer in peers:
        peer.measured(2e6 if peer.me in slow else 20e6)
    return slow


@pytest.mark.parametrize("count", [4, 7, 16, 23])
def test_members_with_slow_links_own_less_and_all_have_the_exact_mean(on_loop, count: int) -> None:
    async def main() -> None:
        async with averagers(count, 20_000) as peers:
            slow = unequal_links(peers)
            assert_exact(peers, await average_all(peers, 4))
            plans = [transfer.plan for peer in peers for transfer in transfers_of(peer)]
            mixed = [plan for plan in plans if 0 < 2 * len(slow & plan.chunks.keys()) < len(plan.members)]
            assert mixed
            for plan in mixed:
                owners = [peer for peer, span in plan.chunks.items() if span.length]
                assert set(owners) == plan.chunks.keys() - slow
            assert [fault for peer in peers for fault in peer.faults()] == []

    on_loop(main())


def transfers_of(peer: Averager) -> list[Transfer]:
    assert peer.rounds is not None
    return [*peer.rounds._attempts._transfers.values()]


def test_member_with_a_slow_link_sends_the_vector_once(on_loop) -> None:
    """1 in place of 2 (M-1)/M: what lies in its hands is done in two thirds of the time."""
    length = 256 * 1024

    async def main() -> None:
        async with averagers(4, length) as peers:
            unequal_links(peers)
            slow = peers[1]
            await average_all(peers, 4)
            assert slow.traffic.sent["tensor"] == pytest.approx(4 * length, rel=0.01)
            assert sum(peer.traffic.sent["tensor"] for peer in peers) == pytest.approx(6 * 4 * length, rel=0.01)

    on_loop(main())


@pytest.mark.parametrize(("exchange", "spans"), [("butterfly", "equal"), ("all-gather", "measured")])
def test_chunks_are_equal_where_that_is_set_and_in_an_all_gather(on_loop, exchange, spans) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH, exchange=exchange, spans=spans) as peers:
            unequal_links(peers)
            assert_exact(peers, await average_all(peers, 4))
            lengths = {span.length for peer in peers for one in transfers_of(peer) for span in one.plan.chunks.values()}
            assert lengths == {LENGTH if exchange == "all-gather" else LENGTH // 4}

    on_loop(main())


async def assert_exact_without(victim: Averager, peers: list[Averager], view: View, lost_before: int) -> None:
    """All others average what was there at the start of the iteration, if `victim` is lost before that round."""
    for peer in peers:
        peer.begin(view)
    averaging = {
        peer.me: asyncio.create_task(peer.average()) for peer in peers if lost_before > 1 or peer is not victim
    }
    if lost_before > 1:
        assert victim.rounds is not None
        await victim.rounds.round(lost_before - 1)
        averaging.pop(victim.me).cancel()
    victim.die()
    live = [peer for peer in peers if peer is not victim]
    results = [await averaging[peer.me] for peer in live]
    assert_exact_of(peers if lost_before > 1 else live, results)


@pytest.mark.parametrize("lost_before", [1, 2, 3])
@pytest.mark.parametrize("slow_one", [False, True])
def test_loss_beside_slow_links_leaves_the_mean_exact(on_loop, slow_one: bool, lost_before: int) -> None:
    """What a lost member's cell is played from is held by members that own nothing of it, too."""

    async def main() -> None:
        async with averagers(23, 20_000) as peers:
            slow = unequal_links(peers)
            view = view_of(peers, 3)
            victim = next(peer for peer in peers[5:] if (peer.me in slow) == slow_one)
            await assert_exact_without(victim, peers, view, lost_before)

    on_loop(main())


@pytest.mark.parametrize("lost_before", [1, 2, 3])
@pytest.mark.parametrize("count", [8, 10, 23])
def test_peer_lost_before_a_round_leaves_the_mean_exact(on_loop, count: int, lost_before: int) -> None:
    """Of those present at the start of the iteration: before round 1 without the lost one, later with it."""

    async def main() -> None:
        async with averagers(count, LENGTH) as peers:
            # the grid has three rounds: 2x2x2, 3x2x2, 3x3x3
            view = view_of(peers, 2 if count == 8 else 3)
            assert view.grid.rounds == 3
            victim = peers[count // 2]
            await assert_exact_without(victim, peers, view, lost_before)

    on_loop(main())


def coded_layout(codec: str) -> Layout:
    return Layout(
        (
            Section(0, 501, codec_named(codec), is_delta=True),
            Section(501, LENGTH, codec_named("int4"), is_delta=False),
        )
    )


async def coded_iterations(peers: list[Averager], group_size: int, count: int) -> list[list[torch.Tensor]]:
    """So many iterations, each from the first one's result: what each peer ended them with."""
    vector, ends = torch.randn(LENGTH, generator=torch.Generator().manual_seed(9)), []
    updates = [0.01 * peer.own for peer in peers]
    for iteration in range(1, count + 1):
        base, view = BaseState("ab", vector), view_of(peers, group_size, iteration)
        for peer, update in zip(peers, updates, strict=True):
            peer.own = vector + iteration * update
            peer.begin(view)
        ends.append([vector for vector, _ in await asyncio.gather(*(peer.average(base) for peer in peers))])
        vector = ends[-1][0].clone()
    return ends


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
@pytest.mark.parametrize(
    ("count", "codec"), [(2, "int8"), (5, "int8"), (7, "topk:0.1"), (16, "int4"), (23, "bfloat16")]
)
def test_encoded_iterations_end_with_the_same_bits_near_the_mean(on_loop, count: int, codec: str, exchange) -> None:
    """Also where cells are empty, and with what the iteration before left over."""

    async def main() -> None:
        async with averagers(count, LENGTH, exchange=exchange, layout=coded_layout(codec)) as peers:
            for results in await coded_iterations(peers, 4, 3):
                assert all(torch.equal(result, results[0]) for result in results)
            assert relative_error(results[0], weighted_mean(peers)) < 0.3
            assert all(peer.tools.feedback._left for peer in peers)
            assert {outcome for peer in peers for _, outcome in peer.outcomes()} == {"complete"}
            assert all(peer.faults() == [] for peer in peers)

    on_loop(main())


def test_lines_that_are_over_keep_nothing_that_was_encoded_or_left_over(on_loop) -> None:
    """Of several rounds it would be as much as the vectors."""

    async def main() -> None:
        async with averagers(4, LENGTH, layout=coded_layout("int8")) as peers:
            await coded_iterations(peers, 2, 2)
            transfers = [
                transfer
                for peer in peers
                if peer.rounds is not None
                for transfer in peer.rounds._attempts._transfers.values()
            ]
            assert len(transfers) == 8
            await until(lambda: not any(transfer._encoded for transfer in transfers))
            assert not any(len(transfer.left_over()) for transfer in transfers)

    on_loop(main())


def test_group_with_different_bases_sends_full_values_and_two_iterations_later_all_do(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH, layout=coded_layout("int8")) as peers:
            sent = 0
            for iteration, is_coded in ((1, True), (2, False), (3, True), (4, False), (5, True)):
                view = view_of(peers, 2, iteration)
                for peer in peers:
                    peer.begin(view)
                bases = [BaseState("ab", torch.zeros(LENGTH)) for _ in peers]
                if iteration == 2:
                    bases[0] = BaseState("cd", torch.ones(LENGTH))
                await asyncio.gather(*(peer.average(base) for peer, base in zip(peers, bases, strict=True)))
                before, sent = sent, sum(peer.traffic.sent["tensor"] for peer in peers)
                full = 4 * 2 * 4 * LENGTH  # of four peers, in two rounds
                if iteration == 2:  # one line in round 1
                    assert 0.4 * full < sent - before < full
                else:
                    assert (sent - before < 0.4 * full) == is_coded, iteration

    on_loop(main())


def assert_exact_of(present: list[Averager], results: list[tuple[torch.Tensor, object]]) -> None:
    exact = weighted_mean(present)
    for vector, _ in results:
        assert relative_error(vector, exact) <= 1e-6
        assert torch.equal(vector, results[0][0]), "not the same bits"


def test_cell_of_a_lost_peer_is_taken_over(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            view = view_of(peers, 2)
            victim = peers[3]
            for peer in peers:
                peer.begin(view)
            tasks = {peer.me: asyncio.create_task(peer.average()) for peer in peers}
            assert victim.rounds is not None
            await victim.rounds.round(1)
            tasks.pop(victim.me).cancel()
            victim.die()
            await asyncio.gather(*tasks.values())
            taken = [
                (peer.me, fact.cell, fact.instead_of)
                for peer in peers
                for fact in peer.facts
                if isinstance(fact, CellTakenOver)
            ]
            line = view.grid.line(view.cell_of[victim.me], Round(1))
            mates = {view.peer_at[cell] for cell in line} - {victim.me}
            if taken:  # where the victim's round 2 was over before it was gone, nobody needs to
                assert {(cell, whose) for _, cell, whose in taken} == {(view.cell_of[victim.me], victim.me)}
                assert {taker for taker, _, _ in taken} <= mates

    on_loop(main())


@pytest.mark.parametrize("exchange", ["butterfly", "all-gather"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_sender_of_values_that_are_not_finite_is_left_out_and_counted(on_loop, bad: float, exchange) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH, exchange=exchange) as peers:
            sick = peers[1]
            sick.own[0] = sick.own[-1] = bad  # in the chunks of the first and the last
            results = await average_all(peers, 4)
            healthy = [peer for peer in peers if peer is not sick]
            assert_exact_of(healthy, results)
            told = [fault for peer in healthy for fault in peer.faults()]
            assert told
            assert set(told) == {("not_finite", sick.me)}

    on_loop(main())


def test_owner_of_the_chunk_with_its_own_bad_values_leaves_itself_out(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            view = view_of(peers, 4)
            sick = peers[1]
            start = LENGTH * view.cell_of[sick.me] // 4
            sick.own[start] = float("nan")
            results = await average_all(peers, 4)
            assert_exact_of([peer for peer in peers if peer is not sick], results)

    on_loop(main())


def test_owner_that_streams_back_bad_values_is_left_out_and_counted(on_loop) -> None:
    """It combines as it should not: a fault of its own, that no contributor has made."""

    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            sick = peers[1]

            def spoil_(out, parts, weights, scratch) -> None:
                out.fill(float("inf"))

            sick.tools = dataclasses.replace(
                sick.tools, transfer=dataclasses.replace(sick.tools.transfer, strategy=spoil_)
            )
            sick.aggregator._tools = sick.tools
            view = view_of(peers, 4)
            healthy = [peer for peer in peers if peer is not sick]
            for peer in peers:
                peer.begin(view)
            averaging = [asyncio.create_task(peer.average()) for peer in peers]
            results = [await task for peer, task in zip(peers, averaging, strict=True) if peer is not sick]
            averaging[1].cancel()
            assert_exact_of(healthy, results)
            assert {fault for peer in healthy for fault in peer.faults()} == {("not_finite", sick.me)}

    on_loop(main())


def test_iterations_follow_one_another_on_the_same_links(on_loop) -> None:
    async def main() -> None:
        async with averagers(7, LENGTH) as peers:
            for iteration in range(1, 6):
                results = await average_all(peers, 3, iteration)
                assert_exact(peers, results)
                for index, peer in enumerate(peers):
                    peer.own = torch.full((LENGTH,), float(iteration * index + 1))
            lookups = {id(peer.tools.pool) for peer in peers}
            assert len(lookups) == len(peers)

    on_loop(main())


def test_late_peer_is_awaited_and_counted(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            view = view_of(peers, 4)
            for peer in peers:
                peer.begin(view)
            tasks = [asyncio.create_task(peer.average()) for peer in peers[:3]]
            await until(lambda: all(peer.rounds is not None and peer.rounds.vectors for peer in peers[:3]))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
            results = [await peers[3].average(), *[await task for task in tasks]]
            assert_exact(peers, results)

    on_loop(main())


def test_rounds_that_are_over_are_needed_until_everybody_has_the_result(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            await average_all(peers, 2)
            for peer in peers:
                assert peer.rounds is not None
                await peer.rounds.unneeded()
                assert not peer.rounds.is_needed()
                assert peer.rounds.group_counts() == (2, 0)

    on_loop(main())


def test_rounds_that_moved_let_go_of_who_waits(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            rounds: Rounds = peers[0].begin(view_of(peers, 3))
            assert rounds.has_exchanged_nothing()
            averaging = asyncio.create_task(peers[0].average())
            await until(lambda: bool(rounds.vectors))
            assert not averaging.done()
            rounds.move()
            await averaging
            assert rounds.moved

    on_loop(main())


def test_close_gives_the_vectors_back_but_for_the_result(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            results = await average_all(peers, 2)
            for peer, (vector, _) in zip(peers, results, strict=True):
                assert peer.rounds is not None
                await peer.rounds.unneeded()
                peer.rounds.close()
                again = [peer.tools.pool.take() for _ in range(8)]
                assert all(other.data_ptr() != vector.data_ptr() for other in again)

    on_loop(main())
