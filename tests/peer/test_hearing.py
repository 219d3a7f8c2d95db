"""What a student hears of its mates: models as they were sent, and nothing that was not asked for."""

from __future__ import annotations

import asyncio

import pytest
import torch
from averaging_peers import averagers, until
from models_of_peers import BASE, FULL, LENGTH, SHORT, Desk, name_of
from msgspec.structs import replace

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.messages import ModelOffer, ModelPart, ModelPull


def later(seconds: float = 30.0) -> dict[str, float]:
    now = Clock().now()
    return {"hurry_at": now + seconds / 2, "deadline": now + seconds}


def test_models_of_all_mates_arrive_bit_for_bit(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            student, *teachers = (Desk(peer) for peer in peers)
            name, mates = name_of(peers), [teacher.peer.me for teacher in teachers]
            hearing = student.listen(name, mates)
            running = asyncio.create_task(hearing.run(**later()))
            for teacher in teachers:
                teacher.offer(name, [student.peer.me])
            await running
            assert hearing.mates.is_complete
            assert hearing.received_bytes == 3 * FULL.total_bytes
            for teacher in teachers:
                assert torch.equal(student.heard_models[teacher.peer.me], teacher.peer.own)

    on_both_loops(main())


@pytest.mark.parametrize(("base", "packing"), [("ab", SHORT), ("cd", FULL), ("", FULL)])
def test_models_come_encoded_only_where_both_hold_the_base(on_loop, base: str, packing: object) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (student, teacher), name = (Desk(peer) for peer in peers), name_of(peers)
            teacher.offer(name, [student.peer.me], base="ab")
            hearing = student.listen(name, [teacher.peer.me], base=base)
            await hearing.run(**later())
            heard, own = student.heard_models[teacher.peer.me], teacher.peer.own
            assert hearing.received_bytes == packing.total_bytes  # type: ignore[attr-defined]
            assert torch.equal(heard, own) is (packing is FULL)
            assert float((heard - own).norm() / (own - BASE).norm()) < 0.02

    on_loop(main())


def test_mates_without_a_model_lost_or_too_late_are_done_without(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            student, slow, dead, silent = (Desk(peer) for peer in peers)
            name = name_of(peers)
            slow.teaching.withhold(1)
            hearing = student.listen(name, [slow.peer.me, dead.peer.me, silent.peer.me])
            running = asyncio.create_task(hearing.run(**later(0.4)))
            await until(lambda: dead.teaching._waiting)
            dead.peer.die()
            await running
            assert hearing.mates.here == []
            assert hearing.received_bytes == 0
            assert student.heard_models == {}

    on_loop(main())


def test_model_that_does_not_count_is_done_without(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            student, *teachers = (Desk(peer) for peer in peers)
            name = name_of(peers)
            student.counts = False
            for teacher in teachers:
                teacher.offer(name, [student.peer.me])
            hearing = student.listen(name, [teacher.peer.me for teacher in teachers], wanted=1)
            await hearing.run(**later())
            assert hearing.mates.here == []
            assert len(student.heard_models) == 2, "the next one has its turn"

    on_loop(main())


def test_segments_that_nobody_asked_for_find_no_room(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (student, teacher), name = (Desk(peer) for peer in peers), name_of(peers)
            hearing, mate = student.listen(name, [teacher.peer.me]), teacher.peer.me
            part, size = ModelPart(name=name, offset=0), FULL.segments[0].size
            assert hearing.room(mate, part, size) is None, "nothing was asked for"
            hearing.mates.ask()
            hearing.offered(mate, ModelOffer(name=replace(name, round=2)))
            assert hearing.mates.pull() == [], "of another round"
            hearing.offered(mate, ModelOffer(name=name))
            for one in hearing.mates.pull():
                hearing._pull(one)
            room = hearing.room(mate, part, size)
            assert room is not None
            assert len(room) == size
            assert hearing.room("f" * 40, part, size) is None  # type: ignore[arg-type]
            assert hearing.room(mate, replace(part, name=replace(name, iteration=2)), size) is None
            assert hearing.room(mate, replace(part, offset=1), size) is None
            hearing.arrived(mate, part, size)
            assert hearing.room(mate, part, size) is None, "it is here already"

    on_loop(main())


def test_segment_of_another_size_is_the_senders_fault(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (student, teacher), name = (Desk(peer) for peer in peers), name_of(peers)
            hearing, mate = student.listen(name, [teacher.peer.me]), teacher.peer.me
            hearing.mates.ask()
            hearing.offered(mate, ModelOffer(name=name))
            for one in hearing.mates.pull():
                hearing._pull(one)
            part = ModelPart(name=name, offset=0)
            for length in (1, FULL.segments[0].size + 4):
                with pytest.raises(RemoteProtocolError) as caught:
                    hearing.room(mate, part, length)
                assert caught.value.code == "bad_span"
            with pytest.raises(RemoteProtocolError):
                hearing.arrived(mate, part, 0)
            teacher.peer.links.send(student.peer.me, part, b"too short")
            await until(lambda: student.peer.faults() == [("bad_span", mate)])

    on_loop(main())


def test_mate_whose_connection_broke_is_asked_again_from_the_start(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (student, teacher), name = (Desk(peer) for peer in peers), name_of(peers)
            hearing = student.listen(name, [teacher.peer.me])
            pulls: list[ModelPull] = []
            give = teacher.teaching.pulled

            def pulled(peer: str, pull: ModelPull) -> None:
                pulls.append(pull)
                if len(pulls) == 1:
                    student.interrupted(teacher.peer.me)  # before the first byte
                else:
                    give(peer, pull)  # type: ignore[arg-type]

            teacher.teaching.pulled = pulled  # type: ignore[method-assign, assignment]
            teacher.offer(name, [student.peer.me])
            await hearing.run(**later())
            assert len(pulls) == 2
            assert torch.equal(student.heard_models[teacher.peer.me], teacher.peer.own)

    on_loop(main())
