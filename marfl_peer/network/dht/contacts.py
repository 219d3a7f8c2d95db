"""The nodes that this node knows: kademlia's routing table, mended so that it does not forget too easily.

A contact that misses answers rests for a while and is then asked again. One that has answered us before leaves
only when somebody else waits for its place; one that never answered leaves after a few misses if others have. So
silence, even of everybody, never empties the table, and forged callers do not fill it. This file wraps an
untyped package: its nodes and tables are `Any`.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from marfl_peer.network.dht.wire import NOBODY

MAX_MISSES = 5
MAX_REST_S = 64.0
MAX_CONTACTS = 1024


class Table(RoutingTable):  # type: ignore[misc]  # kademlia has no types
    """Without kademlia's unowned ping task, and with bucket borders that agree with how it splits."""

    def get_bucket_for(self, node: Node) -> int:
        return next(index for index, bucket in enumerate(self.buckets) if node.long_id <= bucket.range[1])

    def add_contact(self, node: Node) -> None:
        while True:
            index = self.get_bucket_for(node)
            bucket: KBucket = self.buckets[index]
            if bucket.add_node(node):
                return
            if not (bucket.has_in_range(self.node) or bucket.depth() % 5 != 0):
                return  # the bucket remembers it as a replacement
            self.split_bucket(index)

    def bucket_for(self, node: Node) -> Any:
        return self.buckets[self.get_bucket_for(node)]


@dataclass(frozen=True, slots=True)
class Silence:
    misses: int
    rests_until: float


class Contacts:
    """Times are seconds on the loop's clock. `ip_version` is that of the node's own socket."""

    def __init__(self, own_id: bytes, *, bucket_size: int) -> None:
        self.own: Node = Node(own_id)
        self.ip_version = 4
        self.table = Table(None, bucket_size, self.own)
        self._silent: dict[bytes, Silence] = {}
        self._proven: set[bytes] = set()

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.table.buckets)

    def all(self) -> list[Node]:
        return [node for bucket in self.table.buckets for node in bucket.nodes.values()]

    def heard(self, node_id: bytes, host: str, port: int, *, answered: bool) -> Node | None:
        """A node called us, or `answered` us. Returns it if it is a contact from now on and was none before.

        A contact keeps its address while it is well: a caller may claim any id, one who answers was asked there.
        """
        if node_id in (self.own.id, NOBODY) or not self.is_usable(host, port):
            return None
        node = Node(node_id, host, port)
        bucket = self.table.bucket_for(node)
        known = bucket[node_id]
        if known is None:
            if len(self) >= MAX_CONTACTS:
                return None
            self.table.add_contact(node)
            if self.table.bucket_for(node)[node_id] is None:
                return None
        elif known.same_home_as(node) or answered or node_id in self._silent:
            bucket.add_node(node)
            node = None
        else:
            return None
        if answered:
            self._proven.add(node_id)
        self._silent.pop(node_id, None)
        return node

    def missed(self, node_id: bytes, *, now: float) -> None:
        """A node was asked and did not answer in time."""
        node = Node(node_id)
        bucket = self.table.bucket_for(node)
        if bucket[node_id] is None:
            return
        misses = self._silent[node_id].misses + 1 if node_id in self._silent else 1
        is_worthless = node_id not in self._proven and bool(self._proven)
        if misses >= MAX_MISSES and (bucket.replacement_nodes or is_worthless):
            bucket.remove_node(node)
            self._silent.pop(node_id, None)
            self._proven.discard(node_id)
            return
        rests_until = now + min(MAX_REST_S, 2.0 ** min(misses, 10))
        self._silent[node_id] = Silence(misses, rests_until)

    def closest(self, target: bytes, count: int, *, now: float) -> list[Node]:
        """The contacts to ask about a target, closest first: those not resting, or anybody if all are."""
        nodes = self.all()
        awake = [node for node in nodes if self._rests_until(node) <= now]
        return _closest(awake or nodes, target, count)

    def closest_well(self, target: bytes, count: int, *, asker_host: str, asker_id: bytes) -> list[Node]:
        """The contacts to name to somebody who asks: those that answer, and that the asker can reach."""
        asker_is_local = is_loopback(asker_host)
        well = [
            node
            for node in self.all()
            if node.id not in self._silent and node.id != asker_id and (asker_is_local or not is_loopback(node.ip))
        ]
        return _closest(well, target, count)

    def sample(self, count: int, *, now: float, entropy: Callable[[int], bytes]) -> list[Node]:
        """A few contacts at random, from all over the id space, that are not resting."""
        awake = [node for node in self.all() if self._rests_until(node) <= now]
        return [awake.pop(int.from_bytes(entropy(4), "big") % len(awake)) for _ in range(min(count, len(awake)))]

    def is_usable(self, host: str, port: int) -> bool:
        """Whether datagrams could be sent there from this node's socket. Names are never resolved."""
        return _version_of_single(host) == self.ip_version and 0 < port < 65536

    def _rests_until(self, node: Node) -> float:
        silence = self._silent.get(node.id)
        return silence.rests_until if silence is not None else float("-inf")


@lru_cache(maxsize=4096)
def _version_of_single(host: str) -> int | None:
    """4 or 6 for the address of one host, None for all else. Every reply names the same few again and again."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_multicast or address.is_unspecified or host == "255.255.255.255":
        return None
    return address.version


def is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")


def distance(one: bytes, other: bytes) -> int:
    """Kademlia's: the exclusive or of two ids."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


def _closest(nodes: list[Node], target: bytes, count: int) -> list[Node]:
    goal = int.from_bytes(target, "big")
    return heapq.nsmallest(count, nodes, key=lambda node: node.long_id ^ goal)
