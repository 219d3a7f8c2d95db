"""What this node answers to the calls of others, from its own contacts and storage. Nothing is sent from here."""

from __future__ import annotations

from typing import assert_never

from kademlia.node import Node

from marfl_peer.clock import Clock
from marfl_peer.ids import DhtKey
from marfl_peer.network.dht import wire
from marfl_peer.network.dht.checker import RecordChecker
from marfl_peer.network.dht.contacts import Contacts
from marfl_peer.network.dht.storage import RecordStorage


class Responder:
    def __init__(self, *, contacts: Contacts, storage: RecordStorage, checker: RecordChecker, clock: Clock) -> None:
        self._contacts = contacts
        self._storage = storage
        self._checker = checker
        self._clock = clock

    def answer(self, call: wire.Call, host: str) -> wire.Answer:
        """The answer to a call that came from this host."""
        match call:
            case wire.Ping():
                return wire.Pong(self._contacts.own.id)
            case wire.FindNode():
                return wire.FoundNodes(self._closest(call, host))
            case wire.FindRecords():
                return self._found_records(call, host)
            case wire.Store():
                return wire.Stored(self._store(call))
            case _:
                assert_never(call)

    def _found_records(self, call: wire.FindRecords, host: str) -> wire.FoundRecords:
        page = self._storage.page(
            DhtKey(call.target),
            call.after,
            budget_bytes=wire.RECORDS_BUDGET_BYTES,
            now_wall=self._clock.wall(),
        )
        # the nodes come with the first page only: they do not change from page to page
        nodes = [] if call.after else self._closest(call, host)
        return wire.FoundRecords(page.records, page.go_on, nodes)

    def _store(self, call: wire.Store) -> int:
        key, now_wall = DhtKey(call.target), self._clock.wall()
        count = 0
        for data in call.records:
            record = self._checker.accept(data, key=key, now_wall=now_wall)
            if record is not None and self._storage.put(record, data, now_wall=now_wall):
                count += 1
        return count

    def _closest(self, call: wire.FindNode | wire.FindRecords, host: str) -> list[wire.NodeAddress]:
        nodes: list[Node] = self._contacts.closest_well(
            call.target, wire.MAX_NODES, asker_host=host, asker_id=call.sender
        )
        return [wire.NodeAddress(node.id, node.ip, node.port) for node in nodes]
