import asyncio

import pytest
from kademlia.node import Node

from marfl_peer.ids import dht_key
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.search import MAX_PAGES, DhtOptions, Search
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import records

OWN = bytes(20)
KEY = dht_key("a line")


class ScriptedProtocol:
    """Answers as it is told to, without a network."""

    def __init__(self, pages=None, stored=None, knows=None):
        self.knows = knows or {}
        self.pages = pages or {}
        self.stored = stored or {}
        self.asked = []
        self.pinged = []

    async def ping(self, host, port):
        self.pinged.append((host, port))

    async def find_node(self, node, target):
        self.asked.append((node.port, target))
        return [Node(port.to_bytes(20, "big"), "127.0.0.1", port) for port in self.knows.get(node.port, ())]

    async def find_records(self, node, key, after):
        self.asked.append((node.port, after))
        return self.pages.get((node.port, after))

    async def store(self, node, key, encoded):
        return self.stored.get(node.port, 0)

    def nodes_of(self, addresses):
        return [Node(address.node_id, address.host, address.port) for address in addresses]


@pytest.fixture
def search_with(clock, run):
    """search_with(protocol, contacts, use): runs `use(search)` and returns its result and the rejections."""

    def do(protocol, known, use):
        contacts = Contacts(OWN, bucket_size=20)
        for port in known:
            contacts.heard(port.to_bytes(20, "big"), "127.0.0.1", port, answered=True)

        async def go():
            rejections = Rejections(None)
            search = Search(
                protocol=protocol,
                contacts=contacts,
                checker=RecordChecker(rejections),
                clock=clock,
                options=DhtOptions(search_timeout_s=5.0),
            )
            result = await use(search)
            rejections.close()
            return result, rejections.total

        return run(go())

    return do


def page(found, go_on="", nodes=()):
    return wire.FoundRecords([records.encode(record) for record in found], go_on, list(nodes))


def test_records_of_all_nodes_and_pages_are_read(search_with, speak):
    said = sorted((speak() for _ in range(4)), key=lambda record: record.peer_id)
    there = wire.NodeAddress((3).to_bytes(20, "big"), "127.0.0.1", 3)
    protocol = ScriptedProtocol(
        {
            (1, ""): page(said[:1], said[0].peer_id, [there]),
            (1, said[0].peer_id): page(said[1:2]),
            (3, ""): page(said[2:]),
        }
    )
    found, rejected = search_with(protocol, [1, 2], lambda search: search.records(KEY))
    assert sorted(record.peer_id for record in found) == [record.peer_id for record in said]
    assert not rejected
    assert sorted(protocol.asked) == sorted([(1, ""), (1, said[0].peer_id), (2, ""), (3, "")])


def test_records_of_a_page_stay_when_the_next_is_lost(search_with, speak):
    record = speak()
    protocol = ScriptedProtocol({(1, ""): page([record], record.peer_id)})
    found, _ = search_with(protocol, [1], lambda search: search.records(KEY))
    assert found == [record]


def test_records_that_may_not_be_believed_are_left_out(search_with, speak):
    good, old, elsewhere = speak(), speak(lifetime_s=-1), speak(key=dht_key("other"))
    protocol = ScriptedProtocol({(1, ""): page([old, good, elsewhere])})
    found, rejected = search_with(protocol, [1], lambda search: search.records(KEY))
    assert found == [good]
    assert rejected == {"record_expired": 1, "record_key": 1}


def test_records_of_a_node_that_never_ends(search_with):
    class Endless(ScriptedProtocol):
        async def find_records(self, node, key, after):
            self.asked.append(after)
            return page([], f"{len(self.asked):040x}")

    protocol = Endless()
    search_with(protocol, [1], lambda search: search.records(KEY))
    assert len(protocol.asked) == MAX_PAGES


def test_records_of_a_node_that_goes_in_circles(search_with):
    protocol = ScriptedProtocol({(1, ""): page([], "b" * 40), (1, "b" * 40): page([], "a" * 40)})
    search_with(protocol, [1], lambda search: search.records(KEY))
    assert protocol.asked == [(1, ""), (1, "b" * 40)]


def test_explore_leaves_a_circle_through_a_guide(search_with):
    circle = {1: [2], 2: [1], 9: [4], 4: [5]}  # 9 is far away, and knows somebody of the other circle
    guide = Node((9).to_bytes(20, "big"), "127.0.0.1", 9)
    stay, _ = search_with(ScriptedProtocol(knows=circle), [1], lambda search: search.nodes(OWN))
    assert [node.port for node in stay] == [1, 2]
    out, _ = search_with(ScriptedProtocol(knows=circle), [1], lambda search: search.explore(OWN, [guide]))
    assert [node.port for node in out] == [1, 2, 4, 5]


def test_store_names_nodes_that_hold_everything(search_with):
    nodes = [Node(bytes([port]) * 20, "127.0.0.1", port) for port in (1, 2, 3)]
    protocol = ScriptedProtocol(stored={1: 2, 2: 1})
    held, _ = search_with(protocol, [], lambda search: search.store(nodes, KEY, [b"a", b"b"]))
    assert held == nodes[:1]


def test_greet_leaves_out_addresses_that_cannot_be(search_with):
    protocol = ScriptedProtocol()

    async def greet(search):
        async with asyncio.TaskGroup() as tasks:
            for host in ("127.0.0.1", "239.1.1.1", "::1"):
                tasks.create_task(search.greet(host, 7700))

    search_with(protocol, [], greet)
    assert protocol.pinged == [("127.0.0.1", 7700)]
