import random

import pytest

from marfl_peer.network.dht import contacts as contacts_module
from marfl_peer.network.dht.contacts import MAX_MISSES, Contacts, distance, is_loopback

OWN = bytes(20)
HOST = "10.0.0.1"


def node_id(number):
    return number.to_bytes(20, "big")


@pytest.fixture
def contacts():
    return Contacts(OWN, bucket_size=20)


def ids(nodes):
    return [int.from_bytes(node.id, "big") for node in nodes]


def miss(contacts, number, times, now=0.0):
    for _ in range(times):
        contacts.missed(node_id(number), now=now)


def test_contact_is_new_once(contacts):
    assert contacts.heard(node_id(1), HOST, 1, answered=False).port == 1
    assert contacts.heard(node_id(1), HOST, 1, answered=True) is None
    assert contacts.heard(OWN, HOST, 2, answered=True) is None
    assert len(contacts) == 1


def test_contact_that_answered_survives_any_silence(contacts):
    for number in (1, 2, 3):
        contacts.heard(node_id(number), HOST, number, answered=True)
        miss(contacts, number, 100)
    assert len(contacts) == 3
    assert ids(contacts.closest(OWN, 5, now=1.0)) == [1, 2, 3]  # all rest, so all are asked


def test_contact_that_never_answered_leaves_after_some_misses_if_others_have(contacts):
    contacts.heard(node_id(1), HOST, 1, answered=False)
    miss(contacts, 1, 2 * MAX_MISSES)
    assert ids(contacts.all()) == [1]
    contacts.heard(node_id(2), HOST, 2, answered=True)
    contacts.heard(node_id(3), HOST, 3, answered=False)
    miss(contacts, 3, MAX_MISSES - 1)
    assert ids(contacts.all()) == [1, 2, 3]
    miss(contacts, 3, 1)
    miss(contacts, 1, 1)
    assert ids(contacts.all()) == [2]
    miss(contacts, 1, 1)  # of nobody


def test_silent_contact_rests_and_is_asked_again(contacts):
    contacts.heard(node_id(1), HOST, 1, answered=True)
    contacts.heard(node_id(2), HOST, 2, answered=True)
    miss(contacts, 1, 1, now=10.0)
    assert ids(contacts.closest(OWN, 5, now=11.9)) == [2]
    assert ids(contacts.closest(OWN, 5, now=12.0)) == [1, 2]
    miss(contacts, 1, 1, now=12.0)
    assert ids(contacts.closest(OWN, 5, now=15.9)) == [2]
    contacts.heard(node_id(1), HOST, 1, answered=True)
    assert ids(contacts.closest(OWN, 5, now=13.0)) == [1, 2]


def test_silent_contact_gives_its_place_to_somebody_who_waits():
    contacts = Contacts(OWN, bucket_size=2)
    near, far, waiting = 2**159 + 1, 2**159 + 2**154, 2**159 + 2**153  # 5 common bits: kademlia splits no further
    for number in (near, far, waiting):
        contacts.heard(node_id(number), HOST, 1, answered=True)
    assert ids(contacts.all()) == [near, far]
    miss(contacts, near, MAX_MISSES - 1)
    assert ids(contacts.all()) == [near, far]
    miss(contacts, near, 1)
    assert ids(contacts.all()) == [far, waiting]
    miss(contacts, far, MAX_MISSES)  # nobody waits any more
    assert ids(contacts.all()) == [far, waiting]


def test_contact_keeps_its_address_while_it_is_well(contacts):
    contacts.heard(node_id(1), HOST, 1, answered=True)
    contacts.heard(node_id(1), HOST, 666, answered=False)
    assert contacts.all()[0].port == 1
    miss(contacts, 1, 1)
    contacts.heard(node_id(1), HOST, 2, answered=False)  # it started again elsewhere
    assert contacts.all()[0].port == 2
    contacts.heard(node_id(1), HOST, 3, answered=True)
    assert contacts.all()[0].port == 3


@pytest.mark.parametrize(
    "address",
    [("host.example", 1), ("224.0.0.1", 1), ("0.0.0.0", 1), ("255.255.255.255", 1), ("::1", 1), (HOST, 0), ("", 1)],
)
def test_contact_at_an_address_that_nobody_could_ask(contacts, address):
    assert contacts.heard(node_id(1), *address, answered=True) is None
    assert len(contacts) == 0


def test_contacts_of_an_ipv6_socket(contacts):
    contacts.ip_version = 6
    assert contacts.is_usable("::1", 1)
    assert not contacts.is_usable(HOST, 1)


def test_closest_is_exact():
    contacts = Contacts(OWN, bucket_size=20)
    rng = random.Random(7)
    for _ in range(300):
        contacts.heard(rng.randbytes(20), HOST, 1, answered=True)
    for _ in range(20):
        target = rng.randbytes(20)
        everybody = sorted(contacts.all(), key=lambda node: distance(node.id, target))
        assert [node.id for node in contacts.closest(target, 8, now=0.0)] == [node.id for node in everybody[:8]]


def test_every_id_can_be_a_contact_also_on_a_border_of_buckets():
    contacts = Contacts(OWN, bucket_size=1)
    for number in (2**159, 2**159 - 1, 2**159 + 1, 2**158, 2**160 - 1, 1):
        contacts.heard(node_id(number), HOST, 1, answered=True)
    for bucket in contacts.table.buckets:
        assert all(bucket.range[0] <= node.long_id <= bucket.range[1] for node in bucket.nodes.values())
    assert contacts.heard(node_id(2**159), HOST, 1, answered=True) is None


def test_contacts_are_bounded(monkeypatch):
    monkeypatch.setattr(contacts_module, "MAX_CONTACTS", 50)
    contacts = Contacts(OWN, bucket_size=20)
    rng = random.Random(1)
    for _ in range(500):
        contacts.heard(rng.randbytes(20), HOST, 1, answered=False)
    assert len(contacts) == 50


def test_named_to_others_are_those_who_answer_and_can_be_reached(contacts):
    contacts.heard(node_id(1), "127.0.0.1", 1, answered=True)
    contacts.heard(node_id(2), HOST, 2, answered=True)
    contacts.heard(node_id(3), HOST, 3, answered=True)
    miss(contacts, 3, 1)
    asked = {"target": OWN, "count": 8, "asker_id": node_id(9)}
    assert ids(contacts.closest_well(**asked, asker_host="127.0.0.1")) == [1, 2]
    assert ids(contacts.closest_well(**asked, asker_host=HOST)) == [2]
    asked["asker_id"] = node_id(2)
    assert ids(contacts.closest_well(**asked, asker_host=HOST)) == []


def test_sample_is_of_different_contacts_that_do_not_rest(contacts):
    for number in range(1, 10):
        contacts.heard(node_id(number), HOST, number, answered=True)
    miss(contacts, 5, 1)
    rng = random.Random(5)
    seen = set()
    for _ in range(50):
        drawn = ids(contacts.sample(3, now=0.0, entropy=rng.randbytes))
        assert len(set(drawn)) == 3
        seen.update(drawn)
    assert seen == set(range(1, 10)) - {5}
    assert sorted(ids(contacts.sample(99, now=0.0, entropy=bytes))) == sorted(seen)


def test_is_loopback():
    assert is_loopback("127.0.0.5")
    assert is_loopback("::1")
    assert not is_loopback("10.127.0.1")
