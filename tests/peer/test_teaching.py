"""A peer's model is there for its mates on a line, from when it has it until they have it, and for nobody else."""

from __future__ import annotations

from averaging_peers import averagers, until
from models_of_peers import FULL, LENGTH, SHORT, Desk, name_of
from msgspec.structs import replace

from marfl_peer.peer.teaching import MAX_WAITING
from marfl_peer.protocol.messages import ModelOffer, ModelPart, ModelPull, ModelRequest, NoModel


def test_mate_that_asks_early_is_offered_the_model_when_it_is_there(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (teacher, student), name = (Desk(peer) for peer in peers), name_of(peers)
            student.peer.links.send(teacher.peer.me, ModelRequest(name=name))
            await until(lambda: teacher.teaching._waiting)
            teacher.offer(name, [student.peer.me])
            await until(lambda: student.answers)
            assert student.answers == [ModelOffer(name=name)]
            assert teacher.teaching._waiting == {}
            assert len(teacher.teaching) == 1

    on_loop(main())


def test_model_is_let_go_when_all_mates_have_it_or_the_iteration_is_over(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            teacher, *students = (Desk(peer) for peer in peers)
            name = name_of(peers)
            teacher.offer(name, [student.peer.me for student in students])
            for left, student in zip((1, 0), students, strict=True):
                student.peer.links.send(teacher.peer.me, ModelPull(name=name))
                await until(lambda now=student: len(now.answers) == len(FULL.segments))
                await until(lambda now=left: len(teacher.teaching) == now)
                assert [part.offset for part in student.answers] == list(FULL.segments)
            teacher.offer(name_of(peers, 2), [students[0].peer.me])
            teacher.teaching.let_go()
            assert len(teacher.teaching) == 0

    on_loop(main())


def test_model_is_for_the_mates_of_its_line_alone(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            teacher, mate, other = (Desk(peer) for peer in peers)
            name = name_of(peers)
            teacher.offer(name, [mate.peer.me])
            for question in (ModelRequest(name=name), ModelPull(name=name)):
                other.peer.links.send(teacher.peer.me, question)
            await until(lambda: len(other.answers) == 2)
            assert other.answers == [NoModel(name=name)] * 2
            assert other.peer.traffic.received_bytes < 4096

    on_loop(main())


def test_who_asks_for_what_will_never_be_there_is_told_so_at_once(on_loop) -> None:
    """A round that is over, another line than this peer's, and an iteration that it sits out."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (teacher, student), name = (Desk(peer) for peer in peers), name_of(peers)
            early = [replace(name, line=7), replace(name, iteration=2), replace(name, iteration=3)]
            for one in early:
                student.peer.links.send(teacher.peer.me, ModelRequest(name=one))
            await until(lambda: len(teacher.teaching._waiting) == 3)
            teacher.offer(name, [student.peer.me])
            await until(lambda: len(student.answers) == 1)
            teacher.teaching.withhold(2)
            await until(lambda: len(student.answers) == 2)
            student.peer.links.send(teacher.peer.me, ModelRequest(name=replace(name, round=2)))
            await until(lambda: len(student.answers) == 3)
            asked = [replace(name, line=7), replace(name, iteration=2), replace(name, round=2)]
            assert student.answers == [NoModel(name=one) for one in asked]

    on_loop(main())


def test_requests_that_wait_are_few_a_peer_and_gone_with_it(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            (teacher, student), name = (Desk(peer) for peer in peers), name_of(peers)
            for iteration in range(1, MAX_WAITING + 20):
                teacher.teaching.asked(student.peer.me, ModelRequest(name=replace(name, iteration=iteration)))
            assert len(teacher.teaching._waiting) == MAX_WAITING
            teacher.gone(student.peer.me)
            assert teacher.teaching._waiting == {}

    on_loop(main())


def test_model_is_encoded_for_who_holds_the_base_and_full_for_who_does_not(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            teacher, *students = (Desk(peer) for peer in peers)
            name = name_of(peers)
            teacher.offer(name, [student.peer.me for student in students], base="ab")
            sizes = []
            for student, base in zip(students, ("ab", "cd"), strict=True):
                student.peer.links.send(teacher.peer.me, ModelPull(name=name, base=base))
                await until(lambda now=student: len(now.answers) == len(FULL.segments))
                assert all(isinstance(part, ModelPart) for part in student.answers)
                sizes.append(student.peer.traffic.received_bytes)
            assert SHORT.total_bytes < sizes[0] < FULL.total_bytes / 3
            assert sizes[1] > FULL.total_bytes

    on_loop(main())
