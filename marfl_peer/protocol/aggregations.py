"""What carries a peer through the rounds of one iteration, whatever places it in its groups: the face of
`iteration.Aggregation` (grid) and `hashed_iteration.HashedAggregation` that the rounds on the wire see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol.instructions import Instruction
from marfl_peer.protocol.messages import Ballot, LineMessage, LineName
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import View
from marfl_peer.protocol.walks import Stand, VectorName


class AnyAggregation(Protocol):
    """Events go in, instructions come out; nothing else changes it. `rounds` is G."""

    rounds: int
    iteration: Iteration

    @property
    def view(self) -> View | None:
        """Whom it counts; None where groups are found without a view."""
        ...

    @property
    def view_digest(self) -> str:
        """What messages must name, so that members group by the same rules."""
        ...

    def arrive(self, holding: Holding, *, update_s: float, now: float) -> list[Instruction]: ...

    def heard(self, sender: PeerId, message: LineMessage, *, now: float) -> list[Instruction]: ...

    def gone(self, peer: PeerId, *, now: float) -> list[Instruction]: ...

    def back(self, peer: PeerId, *, now: float) -> list[Instruction]: ...

    def tick(self, *, now: float) -> list[Instruction]: ...

    def exchanged(self, name: LineName, ballot: Ballot, *, now: float) -> list[Instruction]: ...

    def fetched(
        self, name: LineName, ballot: Ballot, members: tuple[PeerId, ...], holding: Holding, *, now: float
    ) -> list[Instruction]: ...

    def fetch_failed(self, name: LineName, *, now: float) -> list[Instruction]: ...

    def blame(self, name: LineName, ballot: Ballot, culprit: PeerId, *, now: float) -> list[Instruction]: ...

    def next_deadline(self) -> float | None: ...

    def last_deadline(self) -> float | None: ...

    def home_round(self) -> int: ...

    def home_stand(self) -> Stand: ...

    def last_group(self) -> tuple[PeerId, ...]: ...

    def contribution(self, name: LineName, cells: Iterable[int]) -> list[tuple[VectorName, int]]: ...

    def result_of(self, name: LineName) -> Stand | None: ...

    def awaits(self, name: LineName, ballot: Ballot) -> bool: ...

    def completed(self, name: LineName) -> Ballot | None: ...

    def kept_for_others(self) -> set[VectorName]: ...

    def through(self) -> bool: ...
