"""The records that this node keeps for others: many a key, one a peer, each until it expires, bounded in all.

Only records that were checked come in here. What has to give way when there is no more room: under a key the
highest peer ids (as in `records.merge`, so that all nodes keep the same ones), among keys those farthest from
this node's id (others are closer to them). Pinned records, this node's own, never give way.
"""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.ids import DhtKey
from marfl_peer.protocol.records import MAX_RECORDS_A_KEY, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    record: Record
    data: bytes
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Encoded records in the order of their peers' ids; `go_on` is the last one's if there are more, else ""."""

    records: list[bytes]
    go_on: str


class RecordStorage:
    """`max_bytes` counts encoded records only; in memory a record takes about three times as much."""

    def __init__(
        self,
        own_id: bytes,
        *,
        max_keys: int = 4096,
        max_records_a_key: int = MAX_RECORDS_A_KEY,
        max_bytes: int = 8 * 2**20,
    ) -> None:
        self._own = int.from_bytes(own_id, "big")
        self._max_keys = max_keys
        self._max_records_a_key = max_records_a_key
        self._max_bytes = max_bytes
        self._slots: dict[bytes, dict[str, Held]] = {}
        self.stored_bytes = 0

    def put(self, record: Record, data: bytes, *, now_wall: float, pinned: bool = False) -> bool:
        """Whether this record is held afterwards. It is not if it expired, if the peer has said something later
        under this key, or if there is no room. `data` is the record as it is encoded."""
        if record.expires_at <= now_wall:
            return False
        held = self._slots.get(record.key, {}).get(record.peer_id)
        if held is not None:
            if record.order <= held.record.order:
                return record.order == held.record.order
            pinned = pinned or held.pinned
        if not pinned and not self._make_room(record, len(data), now_wall):
            return False
        self._drop(record.key, record.peer_id)
        held = Held(record=record, data=data, pinned=pinned)
        self._slots.setdefault(record.key, {})[record.peer_id] = held
        self.stored_bytes += len(data)
        return True

    def get(self, key: DhtKey, *, now_wall: float) -> list[Record]:
        """All that is held under a key, tombstones too, in the order of the peers' ids."""
        return [held.record for held in self._standing(key, now_wall)]

    def page(self, key: DhtKey, after: str, *, budget_bytes: int, now_wall: float) -> Page:
        """Records of peers with ids greater than `after`, as many as fit into the budget."""
        taken: list[bytes] = []
        last = ""
        for held in self._standing(key, now_wall):
            if held.record.peer_id <= after:
                continue
            budget_bytes -= len(held.data) + 3  # 3: msgpack's length of a bin
            if budget_bytes < 0:
                return Page(records=taken, go_on=last)
            taken.append(held.data)
            last = held.record.peer_id
        return Page(records=taken, go_on="")

    @property
    def keys(self) -> list[DhtKey]:
        return [DhtKey(key) for key in self._slots]

    def sweep(self, now_wall: float) -> None:
        """Drops all that has expired."""
        for key in list(self._slots):
            self._sweep_key(key, now_wall)

    def _standing(self, key: bytes, now_wall: float) -> list[Held]:
        self._sweep_key(key, now_wall)
        slot = self._slots.get(key, {})
        return [slot[peer_id] for peer_id in sorted(slot)]

    def _sweep_key(self, key: bytes, now_wall: float) -> None:
        for peer_id, held in list(self._slots.get(key, {}).items()):
            if held.record.expires_at <= now_wall:
                self._drop(key, peer_id)

    def _drop(self, key: bytes, peer_id: str) -> None:
        slot = self._slots.get(key, {})
        held = slot.pop(peer_id, None)
        if held is not None:
            self.stored_bytes -= len(held.data)
            if not slot:
                del self._slots[key]

    def _make_room(self, record: Record, size: int, now_wall: float) -> bool:
        slot = self._slots.get(record.key, {})
        if record.peer_id not in slot and len(slot) >= self._max_records_a_key:
            self._sweep_key(record.key, now_wall)
            highest = max((peer_id for peer_id, held in slot.items() if not held.pinned), default="")
            if len(slot) >= self._max_records_a_key:
                if highest < record.peer_id:
                    return False
                self._drop(record.key, highest)
        if not self._is_full(record.key, size):
            return True
        self.sweep(now_wall)
        while self._is_full(record.key, size):
            farthest = self._farthest_key()
            if farthest is None or self._distance(farthest) <= self._distance(record.key):
                return False
            for peer_id in list(self._slots[farthest]):
                self._drop(farthest, peer_id)
        return True

    def _is_full(self, key: bytes, size: int) -> bool:
        is_new_key = key not in self._slots
        return self.stored_bytes + size > self._max_bytes or (is_new_key and len(self._slots) >= self._max_keys)

    def _farthest_key(self) -> bytes | None:
        free = (key for key, slot in self._slots.items() if not any(held.pinned for held in slot.values()))
        return max(free, key=self._distance, default=None)

    def _distance(self, key: bytes) -> int:
        return self._own ^ int.from_bytes(key, "big")
