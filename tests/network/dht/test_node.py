import asyncio
import contextlib
import socket

import msgspec
import pytest

from marfl_peer.errors import ConfigError, DhtError
from marfl_peer.facts import DhtLookedUp, DhtPublished
from marfl_peer.ids import dht_key
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.node import DhtNode
from marfl_peer.network.dht.search import DhtOptions
from marfl_peer.network.identity import Identity
from marfl_peer.protocol import records

HOST = "127.0.0.1"
KEY = dht_key("a line")
QUICK = DhtOptions(call_timeout_s=0.3)


@contextlib.asynccontextmanager
async def swarm(count, clock, *, options=QUICK, **named):
    """Nodes that know each other through the first one."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for _ in range(count):
            identity = Identity.ephemeral()
            node = await stack.enter_async_context(
                DhtNode(identity_id=identity.peer_id, clock=clock, options=options, **named)
            )
            await node.start(HOST, 0)
            if nodes:
                assert await node.bootstrap([nodes[0].address]) > 0
            nodes.append(node)
        yield nodes


def test_node_alone_publishes_and_looks_up_locally(run, clock, speak):
    async def go():
        facts = []
        async with swarm(1, clock, on_fact=facts.append) as (node,):
            record = speak()
            assert await node.publish(record, purpose="group") == 1
            assert await node.lookup(KEY, purpose="group") == [record]
            assert await node.lookup(dht_key("nothing"), purpose="members") == []
            assert (node.lookups, node.refreshes, node.contacts) == (2, 0, [])
        kinds = [(type(fact), fact.purpose) for fact in facts]
        assert kinds == [(DhtPublished, "group"), (DhtLookedUp, "group"), (DhtLookedUp, "members")]

    run(go())


def test_two_nodes_share_a_record(run, clock, speak):
    async def go():
        async with swarm(2, clock) as (one, two):
            record = speak()
            assert await one.publish(record, purpose="group") == 2
            assert await two.lookup(KEY, purpose="group") == [record]
            assert one.contacts == [two.address]
            assert one.bytes_sent == two.bytes_received > 0

    run(go())


def test_twenty_nodes_merge_everybodys_records(run, clock, speak):
    async def go():
        async with swarm(20, clock) as nodes:
            said = [speak() for _ in nodes]
            async with asyncio.TaskGroup() as tasks:
                for node, record in zip(nodes, said, strict=True):
                    tasks.create_task(node.publish(record, purpose="member"))
            expected = sorted(said, key=lambda record: record.peer_id)
            for node in nodes:
                assert await node.lookup(KEY, purpose="members") == expected
            assert sum(sum(node.rejected.values()) for node in nodes) == 0

    run(go())


def test_nodes_that_hold_different_subsets_are_merged(run, clock, speak):
    async def go():
        async with swarm(3, clock) as nodes:
            said = sorted((speak() for _ in range(6)), key=lambda record: record.peer_id)
            for place, record in enumerate(said):
                nodes[place % 3]._storage.put(record, records.encode(record), now_wall=clock.wall())
            for node in nodes:
                assert await node.lookup(KEY, purpose="group") == said

    run(go())


def test_more_records_than_fit_in_one_datagram_are_found(run, clock, speak):
    async def go():
        async with swarm(2, clock) as (one, two):
            said = sorted((speak() for _ in range(120)), key=lambda record: record.peer_id)
            for record in said:
                one._storage.put(record, records.encode(record), now_wall=clock.wall())
            assert await two.lookup(KEY, purpose="members") == said

    run(go())


def test_record_of_the_first_hour_is_found_when_many_came_later(run, clock, speak):
    async def go():
        options = DhtOptions(replicas=4)
        async with contextlib.AsyncExitStack() as stack:
            nodes = await stack.enter_async_context(swarm(2, clock, options=options))
            record = speak()
            await nodes[0].publish(record, purpose="group")
            for _ in range(30):
                late = DhtNode(identity_id=Identity.ephemeral().peer_id, clock=clock, options=options)
                await stack.enter_async_context(late)
                await late.start(HOST, 0)
                await late.bootstrap([nodes[-1].address])
                nodes.append(late)
            for node in nodes:
                assert await node.lookup(KEY, purpose="group") == [record]

    run(go())


def test_records_are_found_after_all_started_at_once(run, clock, speak):
    async def go():
        options = DhtOptions(replicas=4, first_refresh_s=0.2)
        async with swarm(1, clock, options=options) as (first,), contextlib.AsyncExitStack() as stack:
            nodes, said = [first], []
            for _ in range(40):
                node = DhtNode(identity_id=Identity.ephemeral().peer_id, clock=clock, options=options)
                nodes.append(await stack.enter_async_context(node))
                await node.start(HOST, 0)

            async def begin(node):
                await node.bootstrap([first.address])
                said.append(speak())
                await node.publish(said[-1], purpose="member")

            async with asyncio.TaskGroup() as tasks:
                for node in nodes[1:]:
                    tasks.create_task(begin(node))
            expected = sorted(said, key=lambda record: record.peer_id)

            async def everybody_finds_all() -> bool:
                asked = [*nodes[::8], nodes[-1]]
                return all([await node.lookup(KEY, purpose="members") == expected for node in asked])

            # Soon after, not at once; if never, the time limit of the run fails the test.
            while not await everybody_finds_all():
                clock.wall_s += 1.0
                for node in nodes:
                    node._upkeep.note_publication()
                await asyncio.sleep(0)

    run(go())


def test_forged_record_is_neither_published_nor_stored_nor_returned(run, clock, speak):
    async def go():
        async with swarm(2, clock) as (one, two):
            forged = msgspec.structs.replace(speak(), view_digest=b"forged")
            with pytest.raises(DhtError, match="bad signature"):
                await one.publish(forged, purpose="group")
            call = wire.Store(bytes(20), KEY, [records.encode(forged)])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hostile:
                hostile.sendto(wire.encode_call(bytes(20), call), two.address)
            assert await one.lookup(KEY, purpose="group") == []
            assert two.rejected == {"record_signature": 1}
            two._storage.put(forged, records.encode(forged), now_wall=clock.wall())  # a node that lies
            assert await one.lookup(KEY, purpose="group") == []
            assert one.rejected == {"record_signature": 1}

    run(go())


def test_expired_record_is_not_returned(run, clock, speak):
    async def go():
        async with swarm(2, clock) as (one, two):
            await one.publish(speak(lifetime_s=10), purpose="group")
            clock.wall_s += 10
            assert await two.lookup(KEY, purpose="group") == []
            with pytest.raises(DhtError, match="expired"):
                await one.publish(speak(lifetime_s=0), purpose="group")

    run(go())


def test_later_word_replaces_and_tombstone_withdraws_everywhere(run, clock, speak):
    async def go():
        async with swarm(5, clock) as nodes:
            peer = Identity.ephemeral()
            first, second, gone = speak(peer, cell=1), speak(peer, cell=2), speak(peer, body=b"")
            await nodes[0].publish(first, purpose="group")
            await nodes[1].publish(second, purpose="group")
            assert await nodes[4].lookup(KEY, purpose="group") == [second]
            with pytest.raises(DhtError, match="later record"):
                await nodes[0].publish(first, purpose="group")
            await nodes[2].publish(gone, purpose="withdraw")
            for node in nodes:
                assert await node.lookup(KEY, purpose="group") == []

    run(go())


def test_death_of_nodes_loses_neither_records_nor_contacts(run, clock, speak):
    async def go():
        async with swarm(12, clock) as nodes:
            said = sorted((speak() for _ in range(3)), key=lambda record: record.peer_id)
            for record in said:
                await nodes[3].publish(record, purpose="group")
            for node in nodes[:4]:  # the bootstrap node among them
                await node.close()
            for node in nodes[4:]:
                assert await node.lookup(KEY, purpose="group") == said
                assert len(node.contacts) >= 8

    run(go())


def test_neighbour_that_comes_back_is_found_again(run, clock, speak):
    async def go():
        async with swarm(2, clock) as (one, two):
            host, port = two.address
            await two.close()
            for _ in range(8):
                assert await one.lookup(KEY, purpose="group") == []
            assert one.contacts == [(host, port)]
            async with DhtNode(identity_id=Identity.ephemeral().peer_id, clock=clock, options=QUICK) as again:
                await again.start(host, port)  # the same address, after the silence
                record = speak()
                await again.publish(record, purpose="group")
                assert await one.lookup(KEY, purpose="group") == [record]

    run(go())


def test_bootstrap_from_nobody_or_garbage(run, clock):
    async def go():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind((HOST, 0))
            async with swarm(1, clock) as (node,):
                assert await node.bootstrap([]) == 0
                assert await node.bootstrap([mute.getsockname(), ("::1", 1), node.address]) == 0

    run(go())


def test_garbage_at_the_port_is_inert(run, clock, speak):
    async def go():
        facts = []
        async with swarm(2, clock, on_fact=facts.append) as (one, two):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hostile:
                for number in range(50):
                    hostile.sendto(bytes([number]) * (number * 7), two.address)
            await one.publish(speak(), purpose="group")
            assert len(await two.lookup(KEY, purpose="group")) == 1
            assert sum(two.rejected.values()) == 50
        told = [fact.count for fact in facts if not isinstance(fact, DhtPublished | DhtLookedUp)]
        assert sum(told) == 50

    run(go())


def test_own_record_is_renewed_before_it_expires(run, clock, speak):
    async def go():
        identity, facts, renewed = Identity.ephemeral(), [], asyncio.Event()

        def hear(fact):
            facts.append(fact)
            if len(facts) == 2:
                renewed.set()

        async with DhtNode(
            identity_id=identity.peer_id, clock=clock, on_fact=hear, renew=identity.renew_record, options=QUICK
        ) as node:
            await node.start(HOST, 0)
            first = speak(identity, lifetime_s=100)
            clock.wall_s += 40
            await node.publish(first, purpose="member")
            clock.wall_s += 40  # 60 s were left when it was published
            node._upkeep.note_publication()
            await renewed.wait()
            assert [(fact.purpose, fact.nodes) for fact in facts] == [("member", 1), ("member", 1)]
            clock.wall_s += 50
            (second,) = await node.lookup(KEY, purpose="members")
            assert (second.body, second.expires_at) == (first.body, first.expires_at + 40)
            assert second.order > first.order

    run(go())


def test_refresh_is_counted_apart_from_lookups(run, clock):
    async def go():
        refreshed = asyncio.Event()
        options = DhtOptions(refresh_s=0.02)
        async with swarm(2, clock, options=options, on_fact=lambda fact: refreshed.set()) as (one, two):
            await refreshed.wait()
            assert one.refreshes + two.refreshes > 0
            await one.lookup(KEY, purpose="refresh")
            assert one.lookups == two.lookups == 0

    run(go())


def test_port_in_use(run, clock):
    async def go():
        async with swarm(1, clock) as (node,):
            host, port = node.address
            async with DhtNode(identity_id=Identity.ephemeral().peer_id, clock=clock) as other:
                with pytest.raises(ConfigError, match=f"{port}: UDP port is in use"):
                    await other.start(host, port)

    run(go())


def test_node_that_is_not_running(run, clock, speak):
    async def go():
        node = DhtNode(identity_id=Identity.ephemeral().peer_id, clock=clock)
        assert (node.bytes_sent, node.bytes_received, node.contacts) == (0, 0, [])
        async with node:
            for _ in range(2):
                with pytest.raises(DhtError, match="not running"):
                    await node.lookup(KEY, purpose="group")
                with pytest.raises(DhtError, match="not running"):
                    await node.publish(speak(), purpose="group")
                with pytest.raises(DhtError, match="not running"):
                    await node.bootstrap([])
                if node.lookups == 0 and not node._tasks:
                    await node.start(HOST, 0)
                await node.close()
                await node.close()

    run(go())


def test_error_of_the_body_stays_what_it_is(run, clock):
    async def go():
        async with swarm(1, clock):
            raise ConfigError("host", "x", "y")

    with pytest.raises(ConfigError):
        run(go())


def test_close_in_the_middle_of_a_search_ends_it(run, clock):
    async def go():
        options = DhtOptions(call_timeout_s=1000.0, search_timeout_s=1000.0)
        async with swarm(2, clock, options=options) as (one, two):
            await two.close()
            async with asyncio.TaskGroup() as tasks:
                search = tasks.create_task(one.lookup(KEY, purpose="group"))
                for _ in range(3):
                    await asyncio.sleep(0)
                await one.close()
                assert await search == []

    run(go())


def test_fault_of_the_background_work_surfaces(run, clock, speak):
    async def go():
        identity = Identity.ephemeral()

        def broken(record, expires_at):
            raise ZeroDivisionError

        async with DhtNode(identity_id=identity.peer_id, clock=clock, renew=broken, options=QUICK) as node:
            await node.start(HOST, 0)
            await node.publish(speak(identity, lifetime_s=100), purpose="member")
            clock.wall_s += 60
            node._upkeep.note_publication()
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        run(go())
    assert caught.group_contains(ZeroDivisionError)


def test_node_that_does_not_serve_reads_and_stores_and_is_remembered_by_nobody(run, clock, speak):
    async def go():
        async with swarm(3, clock) as nodes, swarm(1, clock, serves=False) as (client,):
            assert await client.bootstrap([nodes[0].address]) == 3
            record = speak()
            assert await client.publish(record, purpose="group") == 4
            assert await nodes[2].lookup(KEY, purpose="group") == [record]
            assert await client.lookup(KEY, purpose="group") == [record]
            for node in nodes:
                assert client.address not in node.contacts
            assert await nodes[0].bootstrap([client.address]) == 2  # it does not answer

    run(go())
