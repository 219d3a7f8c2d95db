import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marfl_peer.ids import DhtKey, PeerId
from marfl_peer.network.dht.storage import RecordStorage
from marfl_peer.protocol import records
from marfl_peer.protocol.records import Record

OWN = bytes(20)
NOW = 1000.0


def key(number):
    """Keys are the farther from OWN the greater their number."""
    return DhtKey(number.to_bytes(20, "big"))


def make(peer, *, at=1, incarnation=1, sequence=1, expires_at=2000, body=b"\x90"):
    return Record(
        key=key(at), peer_id=PeerId(f"{peer:040x}"), public_key=bytes(32), incarnation=incarnation, sequence=sequence,
        view_digest=b"", expires_at=expires_at, body=body, signature=bytes(64),
    )  # fmt: skip


def put(storage, record, **named):
    return storage.put(record, records.encode(record), now_wall=named.pop("now_wall", NOW), **named)


def peers(storage, at=1, now_wall=NOW):
    return [int(record.peer_id, 16) for record in storage.get(key(at), now_wall=now_wall)]


@pytest.fixture
def storage():
    return RecordStorage(OWN, max_keys=4, max_records_a_key=3, max_bytes=4096)


def test_storage_keeps_many_records_a_key(storage):
    assert all(put(storage, make(peer)) for peer in (3, 1, 2))
    assert peers(storage) == [1, 2, 3]


def test_storage_keeps_the_last_word(storage):
    old, new, reborn = make(1), make(1, sequence=2), make(1, incarnation=2)
    assert put(storage, new)
    assert put(storage, new)  # it is held already
    assert not put(storage, old)
    assert put(storage, reborn)
    assert not put(storage, new)
    assert storage.get(key(1), now_wall=NOW) == [reborn]


def test_storage_keeps_a_tombstone_against_what_it_withdrew(storage):
    stated, withdrawn = make(1), make(1, sequence=2, body=b"")
    assert put(storage, withdrawn)
    assert not put(storage, stated)
    assert storage.get(key(1), now_wall=NOW) == [withdrawn]


def test_storage_forgets_what_expired(storage):
    put(storage, make(1, expires_at=1010))
    put(storage, make(2, expires_at=1020))
    assert peers(storage, now_wall=1009.9) == [1, 2]
    assert peers(storage, now_wall=1010) == [2]
    assert not put(storage, make(3, expires_at=1010), now_wall=1010)
    storage.sweep(1020)
    assert storage.keys == []
    assert storage.stored_bytes == 0


def test_storage_full_key_keeps_the_lowest_ids(storage):
    for peer in (5, 4, 3):
        put(storage, make(peer))
    assert not put(storage, make(6))
    assert put(storage, make(1))
    assert peers(storage) == [1, 3, 4]


def test_storage_full_key_gives_room_of_expired_records(storage):
    for peer in (1, 2, 3):
        put(storage, make(peer, expires_at=1010))
    assert put(storage, make(9), now_wall=1010)
    assert peers(storage, now_wall=1010) == [9]


def test_storage_full_of_keys_keeps_the_closest(storage):
    for at in (10, 20, 30, 40):
        put(storage, make(1, at=at))
    assert not put(storage, make(1, at=50))
    assert put(storage, make(1, at=5))
    assert storage.keys == [key(10), key(20), key(30), key(5)]


def test_storage_bytes_are_bounded():
    size = len(records.encode(make(1)))
    storage = RecordStorage(OWN, max_keys=100, max_records_a_key=100, max_bytes=2 * size)
    assert put(storage, make(1, at=2))
    assert put(storage, make(2, at=2))
    assert not put(storage, make(3, at=2))
    assert put(storage, make(3, at=1))  # closer: the other key gives way
    assert storage.keys == [key(1)]
    assert storage.stored_bytes == size


def test_storage_pinned_records_never_give_way(storage):
    for at in (10, 20, 30, 40, 50):
        assert put(storage, make(99, at=at), pinned=True)
    for peer in (1, 2):
        put(storage, make(peer, at=10))
    assert not put(storage, make(3, at=10))
    assert not put(storage, make(1, at=1))
    assert storage.keys == [key(at) for at in (10, 20, 30, 40, 50)]
    assert put(storage, make(99, at=10, sequence=2))  # the later word of somebody else's copy stays pinned
    assert not put(storage, make(3, at=10))


def test_storage_pages_bring_everything_once():
    storage = RecordStorage(OWN)
    for peer in range(100):
        put(storage, make(peer))
    size = len(records.encode(make(1))) + 3
    seen, after, pages = [], "", 0
    while True:
        page = storage.page(key(1), after, budget_bytes=7 * size + 1, now_wall=NOW)
        assert len(page.records) <= 7
        seen += page.records
        pages += 1
        if not page.go_on:
            break
        after = page.go_on
    assert pages == 15
    assert [int(records.decode(data).peer_id, 16) for data in seen] == list(range(100))


def test_storage_page_of_an_unknown_key(storage):
    page = storage.page(key(7), "", budget_bytes=100, now_wall=NOW)
    assert (page.records, page.go_on) == ([], "")


@given(
    st.lists(
        st.tuples(st.integers(1, 8), st.integers(0, 8), st.integers(1, 4), st.integers(1001, 1050), st.booleans()),
        max_size=60,
    )
)
@settings(max_examples=100)
def test_storage_bounds_hold_whatever_comes(steps):
    storage = RecordStorage(OWN, max_keys=3, max_records_a_key=2, max_bytes=900)
    now = NOW
    for at, peer, sequence, expires_at, ages in steps:
        now += ages
        record = make(peer, at=at, sequence=sequence, expires_at=expires_at)
        held = put(storage, record, now_wall=now)
        assert held == (record in storage.get(key(at), now_wall=now))
        kept = [found for name in storage.keys for found in storage.get(name, now_wall=NOW)]
        assert storage.stored_bytes == sum(len(records.encode(found)) for found in kept) <= 900
        assert len(storage.keys) <= 3
        assert all(len(storage.get(name, now_wall=NOW)) <= 2 for name in storage.keys)
