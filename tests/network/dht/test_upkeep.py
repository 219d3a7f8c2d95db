import asyncio
import contextlib

from kademlia.node import Node

from marfl_peer.ids import dht_key
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.published import Published
from marfl_peer.network.dht.search import DhtOptions
from marfl_peer.network.dht.storage import RecordStorage
from marfl_peer.network.dht.upkeep import Upkeep
from marfl_peer.protocol import records

OWN = bytes(20)
NEWCOMER = Node(b"\x01" * 20, "127.0.0.1", 5)


class Stores:
    """Stands in for the search: notes what was stored, and lets a test wait for it."""

    def __init__(self, expected, holds=1):
        self.given = []
        self.expected = expected
        self.holds = holds
        self.done = asyncio.Event()

    async def store(self, nodes, key, encoded):
        self.given.append((nodes[0].id, key, list(encoded)))
        if len(self.given) == self.expected:
            self.done.set()
        return nodes[: self.holds]


class Bench:
    def __init__(self, clock, stores=None, refresh_s=1000.0):
        self.storage = RecordStorage(OWN)
        self.published = Published()
        self.renewed = []
        self.repeated = []
        self.refreshes = 0
        self.happened = asyncio.Event()

        async def renew(statement):
            self.renewed.append(statement.record)
            self.happened.set()

        async def repeat(statement):
            self.repeated.append(statement.record)
            self.happened.set()

        async def refresh():
            self.refreshes += 1
            self.happened.set()

        self.upkeep = Upkeep(
            search=stores,
            storage=self.storage,
            contacts=Contacts(OWN, bucket_size=20),
            published=self.published,
            clock=clock,
            options=DhtOptions(first_refresh_s=refresh_s, refresh_s=refresh_s, max_newcomers=2),
            entropy=lambda size: bytes(size),
            renew=renew,
            repeat=repeat,
            refresh=refresh,
        )

    def hold(self, clock, record):
        assert self.storage.put(record, records.encode(record), now_wall=clock.wall())


async def until(event, work):
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(5):
        await event.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_upkeep_renews_and_repeats_what_is_due(run, clock, speak):
    async def go():
        bench = Bench(clock)
        early, late = speak(lifetime_s=100), speak(lifetime_s=1000)
        for record in (early, late):
            bench.published.note(record, "group", now_wall=clock.wall())
        clock.wall_s += 50
        await until(bench.happened, bench.upkeep.keep_fresh())
        assert (bench.renewed, bench.repeated) == ([early], [late])
        assert bench.refreshes == 0

    run(go())


def test_upkeep_wakes_up_for_news(run, clock, speak):
    async def go():
        bench = Bench(clock)
        task = asyncio.ensure_future(bench.upkeep.keep_fresh())
        await asyncio.sleep(0)  # it sleeps until the refresh now
        bench.published.note(speak(lifetime_s=100), "group", now_wall=clock.wall())
        clock.wall_s += 50
        bench.upkeep.note_publication()
        await until(bench.happened, asyncio.shield(task))
        task.cancel()
        await asyncio.wait([task])
        assert len(bench.renewed) == 1

    run(go())


def test_upkeep_refreshes_and_sweeps(run, clock, speak):
    async def go():
        bench = Bench(clock, refresh_s=0.01)
        bench.hold(clock, speak(lifetime_s=10))
        clock.wall_s += 10
        await until(bench.happened, bench.upkeep.keep_fresh())
        assert bench.refreshes >= 1
        assert bench.storage.keys == []

    run(go())


def test_upkeep_hands_over_every_page(run, clock, speak):
    async def go():
        stores = Stores(expected=2)
        bench = Bench(clock, stores)
        said = [speak() for _ in range(50)]
        for record in said:
            bench.hold(clock, record)
        bench.upkeep.note_newcomer(NEWCOMER)
        await until(stores.done, bench.upkeep.hand_over())
        assert {(node_id, key) for node_id, key, _ in stores.given} == {(NEWCOMER.id, dht_key("a line"))}
        given = [data for _, _, encoded in stores.given for data in encoded]
        assert sorted(given) == sorted(records.encode(record) for record in said)

    run(go())


def test_upkeep_gives_up_a_newcomer_that_is_gone(run, clock, speak):
    async def go():
        stores = Stores(expected=2, holds=0)
        bench = Bench(clock, stores)
        for _ in range(50):
            bench.hold(clock, speak())
        bench.upkeep.note_newcomer(NEWCOMER)
        bench.upkeep.note_newcomer(Node(b"\x02" * 20, "127.0.0.1", 6))
        bench.upkeep.note_newcomer(Node(b"\x03" * 20, "127.0.0.1", 7))  # no room to remember it
        await until(stores.done, bench.upkeep.hand_over())
        assert [node_id for node_id, _, _ in stores.given] == [NEWCOMER.id, b"\x02" * 20]

    run(go())
