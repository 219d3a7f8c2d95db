"""What this node has published and when it is due again, so that records stand as long as their peer does.

A young statement is repeated after 1, 5, 21, 85 ... seconds at nodes that do not hold it yet: when a swarm starts,
nobody knows yet who is closest to a key. When half of its lifetime is over it is to be renewed. A tombstone is
repeated but never renewed. How that is carried out is the node's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from marfl_peer.facts import PublishPurpose
from marfl_peer.ids import DhtKey, PeerId
from marfl_peer.protocol.records import Record

FIRST_REPEAT_S = 1.0
REPEAT_FACTOR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Times are Unix seconds; `lifetime_s` is how long the record had to live when it was published; `holders`
    are the ids of the nodes that are known to hold it."""

    record: Record
    purpose: PublishPurpose
    lifetime_s: float
    renew_at: float
    repeat_at: float
    repeat_wait_s: float
    holders: frozenset[bytes]

    @property
    def due_at(self) -> float:
        return min(self.repeat_at, self.renew_at)


class Published:
    def __init__(self) -> None:
        self._statements: dict[tuple[bytes, str], Statement] = {}

    def __len__(self) -> int:
        return len(self._statements)

    def note(self, record: Record, purpose: PublishPurpose, *, now_wall: float) -> None:
        """A record is being published; it takes the place of what its peer said before under its key."""
        lifetime_s = record.expires_at - now_wall
        self._statements[record.key, record.peer_id] = Statement(
            record=record,
            purpose=purpose,
            lifetime_s=lifetime_s,
            renew_at=record.expires_at if record.is_tombstone else now_wall + lifetime_s / 2,
            repeat_at=now_wall + FIRST_REPEAT_S,
            repeat_wait_s=FIRST_REPEAT_S,
            holders=frozenset(),
        )

    def note_holders(self, record: Record, holders: Iterable[bytes]) -> None:
        """Nodes are known to hold this record. Nothing happens if it has been replaced in the meantime."""
        place = (record.key, record.peer_id)
        statement = self._statements.get(place)
        if statement is not None and statement.record == record:
            self._statements[place] = replace(statement, holders=statement.holders.union(holders))

    def forget(self, key: DhtKey, peer_id: PeerId) -> None:
        """The statement of a peer under a key is neither repeated nor renewed."""
        self._statements.pop((key, peer_id), None)

    def take_renewals(self, now_wall: float) -> list[Statement]:
        """The statements to make anew now. They are forgotten here, and come back by `note`."""
        due = [place for place, statement in self._statements.items() if statement.renew_at <= now_wall]
        taken = [self._statements.pop(place) for place in due]
        return [statement for statement in taken if not statement.record.is_tombstone]

    def take_repeats(self, now_wall: float) -> list[Statement]:
        """The statements to repeat now at nodes that do not hold them. They stay noted."""
        taken = []
        for place, statement in self._statements.items():
            if statement.repeat_at <= now_wall:
                wait_s = statement.repeat_wait_s * REPEAT_FACTOR
                self._statements[place] = replace(statement, repeat_at=now_wall + wait_s, repeat_wait_s=wait_s)
                taken.append(statement)
        return taken

    def next_due_at(self) -> float | None:
        return min((statement.due_at for statement in self._statements.values()), default=None)
