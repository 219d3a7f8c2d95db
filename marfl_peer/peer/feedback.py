"""What rounding left over, kept from iteration to iteration: for each line that this peer exchanges on, of each segment
that it encoded, its own parts and the results that it owns.

Only a complete exchange changes it. It belongs to the members it was left over among: where they change, it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from marfl_peer.ids import PeerId

Place = tuple[int, int]
"""Round and the lowest cell of the line."""


@dataclass(slots=True)
class _Slot:
    members: tuple[PeerId, ...]
    residuals: dict[int, Tensor] = field(default_factory=dict)


class Feedback:
    def __init__(self) -> None:
        self._slots: dict[Place, _Slot] = {}

    def residuals(self, place: Place, members: tuple[PeerId, ...]) -> dict[int, Tensor]:
        """What was left over on a line among these members; not to be changed."""
        slot = self._slots.get(place)
        return {} if slot is None or slot.members != members else slot.residuals

    def keep(self, place: Place, members: tuple[PeerId, ...], left: dict[int, Tensor]) -> None:
        """An exchange is complete, and this is left over; of segments that it does not name, what was before."""
        before = self.residuals(place, members)
        self._slots[place] = _Slot(members, {**before, **left})

    def drop(self) -> None:
        """This peer's state is another's now, or everybody starts anew."""
        self._slots.clear()
