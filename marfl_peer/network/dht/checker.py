"""Checks records that arrive, and remembers which bytes carried a good signature: the same record comes from many
nodes, and a signature costs more to check than all the rest of a datagram.
"""

from __future__ import annotations

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import DhtKey
from marfl_peer.network.rejections import Rejections
from marfl_peer.protocol import records
from marfl_peer.protocol.records import Record


class RecordChecker:
    """Remembers the last `capacity` records whose signature was good."""

    def __init__(self, rejections: Rejections, *, capacity: int = 4096) -> None:
        self._rejections = rejections
        self._capacity = capacity
        self._good: dict[bytes, Record] = {}

    def accept(self, data: bytes, *, key: DhtKey, now_wall: float) -> Record | None:
        """The record in `data` if it may be believed under this key now; else None, and it is counted."""
        try:
            record = self._good.get(data)
            if record is not None:
                records.verify_place(record, key=key, now_wall=now_wall)
                return record
            record = records.decode(data)
            records.verify(record, key=key, now_wall=now_wall)
        except RemoteProtocolError as error:
            self._rejections.count(error.code)
            return None
        while len(self._good) >= self._capacity:
            del self._good[next(iter(self._good))]
        self._good[data] = record
        return record
