from marfl_peer.ids import DhtKey
from marfl_peer.network.dht import handover

KEY = DhtKey(bytes(20))


def node(number):
    """The farther from KEY the greater its number."""
    return number.to_bytes(20, "big")


def is_due(own, newcomer, others, replicas=3):
    return handover.is_due(
        KEY, own_id=node(own), newcomer_id=node(newcomer), others=[node(n) for n in others], replicas=replicas
    )


def test_handover_to_a_newcomer_among_the_closest():
    assert is_due(1, 2, [3, 4, 5])
    assert is_due(1, 3, [2, 4, 5])
    assert not is_due(1, 9, [2, 3, 4])


def test_handover_by_the_two_closest_only():
    assert is_due(5, 1, [])
    assert is_due(5, 1, [4])
    assert not is_due(5, 1, [3, 4])


def test_handover_does_not_count_the_newcomer_among_the_others():
    assert is_due(5, 1, [1, 4])
    assert is_due(1, 4, [2, 4, 5], replicas=3)
    assert not is_due(1, 4, [2, 3, 4], replicas=3)


def test_handover_of_a_node_without_other_contacts():
    assert is_due(1, 9, [], replicas=2)
    assert not is_due(1, 9, [], replicas=1)
    assert is_due(9, 1, [], replicas=1)
