"""Which records a node passes on to a newcomer: those under keys that the newcomer is now among the closest to.

Only the closest few of the nodes that hold a key pass it on (section 2.5 of the Kademlia paper), so that a
newcomer is not told everything by everybody. Kademlia's own version of this hashes the keys once too often.
"""

from __future__ import annotations

from collections.abc import Sequence

from marfl_peer.ids import DhtKey
from marfl_peer.network.dht.contacts import distance

GIVERS = 2
"""How many nodes pass on one key: two, because one of them may have come just now itself."""


def is_due(key: DhtKey, *, own_id: bytes, newcomer_id: bytes, others: Sequence[bytes], replicas: int) -> bool:
    """Whether this node passes its records under `key` on to the newcomer.

    `others` are the ids of the contacts closest to the key, at least `replicas` of them if there are so many.
    """
    own = distance(own_id, key)
    rivals = [distance(other, key) for other in others if other not in (newcomer_id, own_id)]
    closer_than_own = sum(rival < own for rival in rivals)
    if closer_than_own >= GIVERS:
        return False
    newcomers = distance(newcomer_id, key)
    closer_than_newcomer = sum(rival < newcomers for rival in [*rivals, own])
    return closer_than_newcomer < replicas
