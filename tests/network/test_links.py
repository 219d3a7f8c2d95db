"""The pool of connections on loopback, on both event loops: kept, used, dialled again."""

from __future__ import annotations

import asyncio
import socket

import pytest
from linked_nodes import Node, part, swarm, two, until

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault
from marfl_peer.ids import PeerId
from marfl_peer.network import door as door_module
from marfl_peer.network import links as links_module
from marfl_peer.network.connection import Connection
from marfl_peer.network.door import NO_ANSWER
from marfl_peer.network.handshake import Refused
from marfl_peer.network.links import bind_both
from marfl_peer.protocol.messages import (
    AnyMessage,
    Events,
    StatePart,
    StateRequest,
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Politeness is measured in turns of the loop here."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.02)


@pytest.fixture(autouse=True, params=[False, True], ids=["tcp", "unix"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whichever way two are connected, they are by the same rules."""
    monkeypatch.setattr(Node, "knows_neighbours", request.param)


# talking


def test_send_dials_and_delivers_what_waited_in_order(on_both_loops) -> None:
    async def main() -> None:
        for low_first in (True, False):
            one, other = two() if low_first else two()[::-1]
            async with swarm(one, other):
                one.knows(other)
                for number in range(50):
                    one.links.send(other.me, part(number), b"x" * number)
                await other.until(lambda other=other: len(other.frames) == 50)
                assert other.offsets() == list(range(50))
                assert [payload for _, _, payload in other.frames] == [b"x" * number for number in range(50)]
                assert {sender for sender, _, _ in other.frames} == {one.me}
                assert one.links.connected() == [other.me]
                assert one.links.is_connected(other.me)
                assert one.events == [("up", other.me)]

    on_both_loops(main())


def test_answer_goes_back_over_the_connection_that_was_dialled(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: len(other.frames) == 1)
            other.links.send(one.me, part(2))
            await one.until(lambda: len(one.frames) == 1)
            assert len(one.connections(other.me)) == 1

    on_both_loops(main())


def test_simultaneous_dials_deliver_every_message_once(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is polite: both dial at once, and go on sending while one connection takes over from the other."""
    monkeypatch.setattr(links_module, "POLITE_S", 0.0)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            other.knows(one)
            one.links.connect(other.me)
            other.links.connect(one.me)
            for number in range(300):
                one.links.send(other.me, part(number))
                other.links.send(one.me, part(number))
                if number % 10 == 0:
                    await asyncio.sleep(0)
            for node in (one, other):
                await node.until(lambda node=node: len(node.frames) == 300)
                assert sorted(node.offsets()) == list(range(300))
                assert ("lost", one.me) not in node.events
                assert ("down", one.me) not in node.events
            # From here on both use the connection that the lower id dialled: order is kept.
            for number in range(300, 400):
                one.links.send(other.me, part(number))
                other.links.send(one.me, part(number))
            for node in (one, other):
                await node.until(lambda node=node: len(node.frames) == 400)
                assert node.offsets()[300:] == list(range(300, 400))
            assert one.links._links[other.me].best is not None
            best_of_one, best_of_other = one.connections(other.me)[0], other.connections(one.me)[0]
            assert best_of_one.remote == f"127.0.0.1:{other.port}", "dialled by the lower id"
            assert best_of_other.remote != f"127.0.0.1:{one.port}"

    on_both_loops(main())


def test_other_connection_takes_over_when_the_best_one_breaks(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "POLITE_S", 0.0)

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            other.knows(one)
            one.links.connect(other.me)
            other.links.connect(one.me)
            await one.until(lambda: ("up", other.me) in one.events)
            await until(lambda: len(one.connections(other.me)) == len(other.connections(one.me)) == 2)
            one.connections(other.me)[0].fail(ConnectionAbortedError())
            await until(lambda: len(one.connections(other.me)) == len(other.connections(one.me)) == 1)
            one.links.send(other.me, part(7))
            await other.until(lambda: other.offsets() == [7])
            # What was under way on the broken one is lost: both ends are to say it again.
            assert [what for what, _ in one.events] == ["up", "interrupted"]
            assert [what for what, _ in other.events] == ["up", "interrupted"]

    on_both_loops(main())


def test_bytes_sent_are_the_bytes_that_the_other_side_received(on_both_loops) -> None:
    """Handshake and goodbye included."""

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            for number in range(20):
                one.links.send(other.me, part(number), b"x" * 10_000)
            await other.until(lambda: len(other.frames) == 20)
            other.links.send(one.me, StateRequest(at_least=1))
            await one.until(lambda: len(one.frames) == 1)
            ends = [one.connections(other.me)[0], other.connections(one.me)[0]]
            one.links.forget(other.me)
            await asyncio.wait([end.closed for end in ends])
        assert sum(one.links.traffic.sent.values()) == other.links.traffic.received_bytes
        assert sum(other.links.traffic.sent.values()) == one.links.traffic.received_bytes
        assert one.links.traffic.sent["state"] > 200_000
        assert one.links.traffic.sent["tensor"] == 0

    on_both_loops(main())


def test_flood_reaches_all_but_one(on_both_loops) -> None:
    async def main() -> None:
        hub, *others = nodes = [Node() for _ in range(4)]
        async with swarm(*nodes):
            hub.knows(*others)
            for other in others:
                hub.links.connect(other.me)
            await hub.until(lambda: len(hub.links.connected()) == 3)
            hub.links.flood(Events(), b"news", but=others[1].me)
            hub.links.send(others[1].me, part(1))
            for other in others:
                await other.until(lambda other=other: len(other.frames) == 1)
            assert [type(other.frames[0][1]) for other in others] == [Events, StatePart, Events]

    on_both_loops(main())


def test_stream_hands_out_the_connection_or_nothing(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        used: list[Connection] = []

        async def frames(connection: Connection) -> None:
            used.append(connection)
            for number in range(5):
                assert await connection.drained()
                connection.send(part(number), b"x" * 100_000)

        async with swarm(one, other):
            await one.links.stream(other.me, frames)
            assert used == []
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await one.links.stream(other.me, frames)
            await other.until(lambda: other.offsets() == list(range(5)))

    on_both_loops(main())


def test_peer_does_not_dial_itself(on_loop) -> None:
    async def main() -> None:
        node = Node()
        async with swarm(node):
            node.links.learn(node.me, ("127.0.0.1", node.port))
            node.links.connect(node.me)
            node.links.send(node.me, part(1))
            assert node.links._links[node.me].dialling is None

    on_loop(main())


# breaking


def test_broken_connection_is_dialled_again_and_nobody_is_lost(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            one.connections(other.me)[0].fail(ConnectionAbortedError())
            for node, mate in ((one, other), (other, one)):
                await node.until(lambda node=node, mate=mate: node.events.count(("up", mate.me)) == 2)
                assert node.events[:3] == [("up", mate.me), ("down", mate.me), ("up", mate.me)]
                assert ("lost", mate.me) not in node.events
            one.links.send(other.me, part(1))
            await other.until(lambda: other.offsets() == [1])

    on_both_loops(main())


def test_peer_that_is_gone_is_lost_once_the_redial_is_refused(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            other.links._door.shut()
            other.links._closing = True  # as a killed process: it neither dials nor says goodbye
            for connection in other.connections(one.me):
                connection.fail(ConnectionAbortedError())
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.events == [("up", other.me), ("down", other.me), ("lost", other.me)]

    on_both_loops(main())


def test_peer_nobody_listens_for_is_lost_and_its_queue_forgotten(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with swarm(one):
            one.links.learn(other.me, ("127.0.0.1", port))
            one.links.send(other.me, part(1))
            await one.until(lambda: one.events == [("lost", other.me)])
            assert len(one.links._links[other.me].queue) == 0

    on_both_loops(main())


def test_peer_without_an_address_is_lost(on_loop) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one):
            one.links.send(other.me, part(1))
            await one.until(lambda: one.events == [("lost", other.me)])

    on_loop(main())


def test_address_where_somebody_else_answers_is_refused(on_both_loops) -> None:
    async def main() -> None:
        one, other, third = Node(), Node(), Node()
        async with swarm(one, other):
            one.links.learn(third.me, ("127.0.0.1", other.port))
            one.links.send(third.me, part(1))
            await one.until(lambda: ("lost", third.me) in one.events)
            assert one.refusals() == [("other_peer", True)]

    on_both_loops(main())


def test_peer_that_refuses_us_is_lost_and_both_count_it(on_both_loops) -> None:
    async def main() -> None:
        one, other = Node(), Node(settings_digest="00")
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: ("lost", other.me) in one.events)
            await other.until(lambda: other.refusals() != [])
            assert one.refusals() == [("other_settings", False)]
            assert other.refusals() == [("other_settings", True)]
            assert other.events == []

    on_both_loops(main())


def test_dial_that_nobody_answers_in_time_frees_its_place(on_both_loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "DIAL_S", 0.0)
    monkeypatch.setattr(Node, "knows_neighbours", False)  # neighbours answer at once, or are none

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.links._door.strangers == {}

    on_both_loops(main())


def test_peer_that_stood_still_as_it_dialled_calls_nobody_silent(
    on_both_loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped for a minute in the middle of a handshake: that the other side gave up says nothing of it."""
    stops = iter([60.0])

    class Stopped(Clock):
        def __init__(self) -> None:
            self.slept = 0.0

        def now(self) -> float:
            return super().now() + self.slept

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            door = one.links._door
            clock = door._clock = door._waking._clock = Stopped()
            greet = one.links.doorman.greet

            async def greet_late(*given: object, **named: object) -> object:
                pause = next(stops, None)
                if pause is not None:
                    clock.slept = pause
                    raise Refused("closed", "the other side closed the connection")
                return await greet(*given, **named)

            monkeypatch.setattr(one.links.doorman, "greet", greet_late)
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: bool(one.events))
            assert one.events == [("up", other.me)]

    on_both_loops(main())


def test_peer_at_whose_address_connections_end_without_a_word_is_tried_again_and_then_lost(
    on_both_loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perhaps it was too busy to be through with the handshake in time."""
    dials = 0

    async def main() -> None:
        one, other = two()
        async with swarm(one, other):

            async def gives_up(*given: object, **named: object) -> object:
                nonlocal dials
                dials += 1
                raise Refused("closed", "the other side closed the connection")

            monkeypatch.setattr(one.links.doorman, "greet", gives_up)
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: ("lost", other.me) in one.events)
            assert one.refusals() == []

    on_both_loops(main())
    assert dials == 2


def test_dial_in_vain_says_nothing_of_a_peer_that_dialled_meanwhile(
    on_both_loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            entered, go_on = asyncio.Event(), asyncio.Event()

            async def nobody(peer: PeerId, address: tuple[str, int]) -> str:
                entered.set()
                await go_on.wait()
                return NO_ANSWER

            monkeypatch.setattr(one.links._door, "dial", nobody)
            one.knows(other)
            other.knows(one)
            one.links.connect(other.me)
            await entered.wait()
            other.links.connect(one.me)
            await one.until(lambda: one.links.is_connected(other.me))
            go_on.set()
            await until(lambda: one.links._links[other.me].dialling is None)
            assert one.events == [("up", other.me)]

    on_both_loops(main())


def test_goodbye_is_no_loss(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            await other.until(lambda: other.links.is_connected(one.me))
            await other.links.close()
            await one.until(lambda: ("down", other.me) in one.events)
            assert one.links._links[other.me].dialling is None
            assert one.events == [("up", other.me), ("down", other.me)]

    on_both_loops(main())


def test_forgotten_peer_is_not_lost_and_can_be_dialled_again(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: other.offsets() == [1])
            one.links.forget(other.me)
            await other.until(lambda: ("down", one.me) in other.events)
            assert ("lost", one.me) not in other.events
            assert one.links.connected() == []
            one.knows(other)
            one.links.send(other.me, part(2))
            await other.until(lambda: other.offsets() == [1, 2])
            assert ("lost", other.me) not in one.events

    on_both_loops(main())


def test_peer_that_breaks_the_rules_is_dropped_counted_and_lost(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()

        def refuse(message: AnyMessage) -> None:
            raise RemoteProtocolError("bad_span", "not awaited")

        async with swarm(one, other):
            other.on_heard = refuse
            one.knows(other)
            one.links.send(other.me, part(1))
            await other.until(lambda: ("lost", one.me) in other.events)
            assert [(fact.code, fact.remote) for fact in other.facts if isinstance(fact, RemoteFault)] == [
                ("bad_span", one.me)
            ]
            assert other.events == [("up", one.me), ("offended", one.me), ("down", one.me), ("lost", one.me)]

    on_both_loops(main())


def test_drop_ends_the_connection_as_a_fault(on_both_loops) -> None:
    async def main() -> None:
        one, other = two()
        async with swarm(one, other):
            one.knows(other)
            one.links.connect(other.me)
            await one.until(lambda: one.links.is_connected(other.me))
            one.links.drop(other.me, RemoteProtocolError("not_finite", "values"))
            await one.until(lambda: ("lost", other.me) in one.events)
            assert [fact.code for fact in one.facts if isinstance(fact, RemoteFault)] == ["not_finite"]

    on_both_loops(main())


def test_bind_both_finds_a_port_that_is_free_for_both() -> None:
    port = bind_both("127.0.0.1")
    with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", port))


# who dials whom


def listener_and_caller() -> tuple[Node, Node]:
    return Node(), Node(listens=False)


def test_dial_only_peer_is_awaited_and_gets_what_waited(on_both_loops) -> None:
    async def main() -> None:
        one, caller = listener_and_caller()
        async with swarm(one, caller):
            one.knows(caller)
            caller.knows(one)
            for number in range(3):
                one.links.send(caller.me, part(number))
            await asyncio.sleep(0)
            assert not one.links.is_connected(caller.me)
            caller.links.connect(one.me)
            await caller.until(lambda: caller.offsets() == [0, 1, 2])
            assert one.connections(caller.me)[0].remote != f"127.0.0.1:{caller.port}"
            assert (one.events, one.facts) == ([("up", caller.me)], [])

    on_both_loops(main())


def test_dial_only_peer_that_does_not_come_is_down_and_then_lost_with_the_reason(
    on_both_loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "DIAL_S", 0.01)
    monkeypatch.setattr(links_module, "arrival_s", lambda lag_s: 0.03)

    async def main() -> None:
        one, caller = listener_and_caller()
        async with swarm(one):
            one.knows(caller)
            one.links.send(caller.me, part(1))
            await one.until(lambda: ("lost", caller.me) in one.events)
            assert [what for what, _ in one.events] == ["down", "down", "lost"]
            assert one.reasons == ["is dial-only, and its connection did not come in 0 s"]
            assert not one.links._links[caller.me].queue
            assert one.facts == []

    on_both_loops(main())


def test_dial_only_peer_comes_back_after_its_connection_broke(on_both_loops) -> None:
    async def main() -> None:
        one, caller = listener_and_caller()
        async with swarm(one, caller):
            caller.knows(one)
            caller.links.send(one.me, part(1))
            await one.until(lambda: one.offsets() == [1])
            one.connections(caller.me)[0].fail(ConnectionAbortedError())
            await one.until(lambda: ("down", caller.me) in one.events)
            one.links.send(caller.me, part(2))
            await caller.until(lambda: caller.offsets() == [2])
            assert [what for what, _ in one.events] == ["up", "down", "up"]

    on_both_loops(main())


def test_newer_connection_of_a_dial_only_peer_is_the_one_to_send_on(on_both_loops) -> None:
    """The older may be dead without a word; whose id is lower says nothing here."""

    async def main() -> None:
        for _ in range(4):  # ids of either order
            one, caller = listener_and_caller()
            async with swarm(one, caller):
                caller.knows(one)
                caller.links.connect(one.me)
                await one.until(lambda one=one, caller=caller: ("up", caller.me) in one.events)
                older = one.connections(caller.me)[0]
                assert await caller.links._door.dial(one.me, ("127.0.0.1", one.port)) == ""
                await until(lambda one=one, caller=caller: len(one.connections(caller.me)) == 2)
                for node, other in ((one, caller), (caller, one)):
                    assert node.links.connection(other.me) is node.connections(other.me)[0]
                assert one.connections(caller.me)[1] is older

    on_both_loops(main())


def test_two_dial_only_peers_are_down_for_each_other_and_never_lost(on_both_loops) -> None:
    async def main() -> None:
        one, other = Node(listens=False), Node(listens=False)
        async with swarm(one, other):
            one.knows(other)
            for number in range(3):
                one.links.send(other.me, part(number))
                await one.until(lambda number=number: len(one.events) == number + 1)
            assert one.events == [("down", other.me)] * 3
            assert not one.links._links[other.me].queue
            assert (one.facts, other.events) == ([], [])

    on_both_loops(main())


def test_goodbye_is_known_until_the_peer_comes_again(on_both_loops) -> None:
    async def main() -> None:
        one, caller = listener_and_caller()
        async with swarm(one, caller):
            caller.knows(one)
            caller.links.connect(one.me)
            await one.until(lambda: ("up", caller.me) in one.events)
            assert not caller.links.said_goodbye(one.me)
            one.links.forget(caller.me)
            await caller.until(lambda: ("down", one.me) in caller.events)
            assert caller.links.said_goodbye(one.me)
            caller.links.connect(one.me)
            await until(lambda: caller.links.is_connected(one.me))
            assert not caller.links.said_goodbye(one.me)

    on_both_loops(main())


def test_dial_only_peer_that_came_first_is_not_waited_for(on_both_loops) -> None:
    async def main() -> None:
        one, caller = listener_and_caller()
        async with swarm(one, caller):
            caller.knows(one)
            caller.links.connect(one.me)
            await one.until(lambda: ("up", caller.me) in one.events)
            await one.links._await_arrival(caller.me, one.links._links[caller.me])
            assert one.events == [("up", caller.me)]

    on_both_loops(main())
