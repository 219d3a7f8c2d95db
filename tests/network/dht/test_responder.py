import asyncio

import pytest

from marfl_peer.ids import dht_key
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.responder import Responder
from marfl_peer.network.dht.storage import RecordStorage
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import records

OWN, ASKER = bytes(20), b"\xff" * 20
KEY = dht_key("a line")


class Bench:
    def __init__(self, clock):
        self.rejections = Rejections(None)
        self.contacts = Contacts(OWN, bucket_size=20)
        self.storage = RecordStorage(OWN)
        self.clock = clock
        self.responder = Responder(
            contacts=self.contacts,
            storage=self.storage,
            checker=RecordChecker(self.rejections),
            clock=clock,
        )

    def answer(self, call):
        async def go():
            answer = self.responder.answer(call, "127.0.0.1")
            self.rejections.close()
            return answer

        return asyncio.run(go())

    def know(self, count):
        for number in range(1, count + 1):
            self.contacts.heard(number.to_bytes(20, "big"), "127.0.0.1", number, answered=True)


@pytest.fixture
def bench(clock):
    return Bench(clock)


def test_ping_is_answered_with_the_own_id(bench):
    assert bench.answer(wire.Ping(ASKER)) == wire.Pong(OWN)


def test_find_node_names_the_closest(bench):
    bench.know(wire.MAX_NODES + 5)
    answer = bench.answer(wire.FindNode(ASKER, OWN))
    assert [address.port for address in answer.nodes] == list(range(1, wire.MAX_NODES + 1))


def test_store_and_find_records(bench, speak):
    encoded = [records.encode(speak(cell=cell)) for cell in range(3)]
    assert bench.answer(wire.Store(ASKER, KEY, encoded)) == wire.Stored(3)
    bench.know(1)
    found = bench.answer(wire.FindRecords(ASKER, KEY, ""))
    assert sorted(found.records) == sorted(encoded)
    assert found.go_on == ""
    assert [address.port for address in found.nodes] == [1]


def test_store_takes_only_what_is_valid(bench, speak):
    good, forged = speak(), bytearray(records.encode(speak()))
    forged[-1] ^= 1
    other = speak(key=dht_key("another line"))
    encoded = [bytes(forged), records.encode(good), records.encode(other), b"garbage"]
    assert bench.answer(wire.Store(ASKER, KEY, encoded)) == wire.Stored(1)
    assert bench.storage.get(KEY, now_wall=bench.clock.wall()) == [good]
    assert bench.rejections.total == {"record_signature": 1, "record_key": 1, "record_malformed": 1}


def test_find_records_does_not_answer_with_what_expired(bench, speak):
    bench.answer(wire.Store(ASKER, KEY, [records.encode(speak(lifetime_s=10))]))
    bench.clock.wall_s += 10
    assert bench.answer(wire.FindRecords(ASKER, KEY, "")).records == []


def test_find_records_pages_fit_into_datagrams_and_bring_all(bench, speak):
    bench.know(20)
    encoded = [records.encode(speak()) for _ in range(70)]
    for start in range(0, 70, 35):
        assert bench.answer(wire.Store(ASKER, KEY, encoded[start : start + 35])) == wire.Stored(35)
    seen, after, pages = [], "", []
    while not pages or after:
        answer = bench.answer(wire.FindRecords(ASKER, KEY, after))
        assert len(wire.encode_answer(b"m" * 20, answer)) <= wire.MAX_DATAGRAM_BYTES
        seen += answer.records
        pages.append(len(answer.nodes))
        after = answer.go_on
    assert sorted(seen) == sorted(encoded)
    assert pages == [wire.MAX_NODES, 0, 0]  # nodes are named once
