"""What this node has published and when it is due again, so that records stand as long as their peer does.

A statement is published again when half of its lifetime is over: renewed if it is our own, as it is if not.
When that is carried out, and how, is the node's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from marfl_peer.protocol.records import Record

PublishPurpose = Literal["run", "member", "group", "withdraw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Times are Unix seconds; `lifetime_s` is how long the record had to live when it was published."""

    record: Record
    purpose: PublishPurpose
    lifetime_s: float
    due_at: float


class Published:
    def __init__(self) -> None:
        self._statements: dict[tuple[bytes, str], Statement] = {}

    def __len__(self) -> int:
        return len(self._statements)

    def note(self, record: Record, purpose: PublishPurpose, *, now_wall: float) -> None:
        """A record was published. A tombstone ends the statement that it withdraws."""
        place = (record.key, record.peer_id)
        if record.is_tombstone:
            self._statements.pop(place, None)
            return
        lifetime_s = record.expires_at - now_wall
        self._statements[place] = Statement(
            record=record, purpose=purpose, lifetime_s=lifetime_s, due_at=now_wall + lifetime_s / 2
        )

    def take_due(self, now_wall: float) -> list[Statement]:
        """The statements to publish again now, oldest first. They come back by `note`."""
        due = [(place, statement) for place, statement in self._statements.items() if statement.due_at <= now_wall]
        for place, _ in due:
            del self._statements[place]
        return sorted((statement for _, statement in due), key=lambda statement: statement.due_at)

    def next_due_at(self) -> float | None:
        return min((statement.due_at for statement in self._statements.values()), default=None)
