"""What rounding left over, kept from iteration to iteration: for each line that this peer exchanges on, of each segment
that it encoded, its own parts and the results that it owns.

Only a complete exchange changes it. It belongs to the view that it was left over in: members of parallel lines, whose
inputs are equal, have to feed the same back, and a peer that is new or was started again has nothing to feed back. So
whenever the view changes everybody begins with nothing; what is lost by that is less than one step of the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import LineName


@dataclass(slots=True)
class _Slot:
    view_mark: str
    members: tuple[PeerId, ...]
    residuals: dict[int, Tensor] = field(default_factory=dict)


class Feedback:
    def __init__(self) -> None:
        self._slots: dict[tuple[int, int], _Slot] = {}

    def residuals(self, name: LineName, members: tuple[PeerId, ...]) -> Mapping[int, Tensor]:
        """What was left over on a line among these members, by the first float of each segment."""
        slot = self._slots.get((name.round, name.line))
        return {} if slot is None or (slot.view_mark, slot.members) != (name.view_mark, members) else slot.residuals

    def keep(self, name: LineName, members: tuple[PeerId, ...], left: Mapping[int, Tensor]) -> None:
        """An exchange is complete, and this is left over; of segments that it does not name, what was before."""
        residuals = {**self.residuals(name, members), **left}
        self._slots[name.round, name.line] = _Slot(name.view_mark, members, residuals)

    def drop(self) -> None:
        """This peer's state is another's now, or everybody starts anew."""
        self._slots.clear()
