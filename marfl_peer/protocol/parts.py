"""Which part of a download comes from whom: one queue of parts, any number of sources, and any of them may fall away.

A source has a few parts outstanding at a time, so that a fast one gives more; what a source did not give goes back to
the queue. Knows offsets and sources, not bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from marfl_peer.ids import PeerId

PART_BYTES = 256 * 1024
"""Of what is downloaded."""
WINDOW = 4
"""Parts that one source is asked for at a time."""


class PartQueue:
    """Parts of `part_bytes` at offsets from 0 to `total_bytes`; a source is stalled after `patience_s` without one."""

    def __init__(self, *, total_bytes: int, part_bytes: int, patience_s: float) -> None:
        self._missing = deque(range(0, total_bytes, part_bytes))
        self._patience_s = patience_s
        self._asked: dict[PeerId, list[int]] = {}
        self._heard: dict[PeerId, float] = {}
        self._left: set[PeerId] = set()
        self.given_by: dict[int, PeerId] = {}
        """The source of every part that is here."""

    @property
    def is_whole(self) -> bool:
        return not self._missing and not any(self._asked.values())

    @property
    def sources(self) -> list[PeerId]:
        """Those that parts may be asked from."""
        return sorted(self._asked)

    def add(self, source: PeerId, *, now: float) -> None:
        """One more source; one that was dropped does not come back."""
        if source not in self._asked and source not in self._left:
            self._asked[source] = []
            self._heard[source] = now

    def drop(self, source: PeerId) -> None:
        """Its parts are there for others."""
        self._left.add(source)
        self._missing.extendleft(reversed(self._asked.pop(source, [])))

    def hand_out(self, *, now: float) -> list[tuple[PeerId, int]]:
        """Who is to be asked for which offsets now: in turns, as far as windows and parts go."""
        handed: list[tuple[PeerId, int]] = []
        for _ in range(WINDOW):
            for source, asked in sorted(self._asked.items()):
                if self._missing and len(asked) < WINDOW:
                    if not asked:
                        self._heard[source] = now  # it had nothing to do: its time begins
                    asked.append(self._missing.popleft())
                    handed.append((source, asked[-1]))
        return handed

    def awaits(self, source: PeerId, offset: int) -> bool:
        """Whether the part at this offset is to come from this source."""
        return offset in self._asked.get(source, ())

    def arrived(self, source: PeerId, offset: int, *, now: float) -> None:
        """The part is here. It must be awaited."""
        self._asked[source].remove(offset)
        self._heard[source] = now
        self.given_by[offset] = source

    def stalled(self, *, now: float) -> list[PeerId]:
        """Sources that were asked and gave nothing for too long."""
        return [source for source in self.sources if self._asked[source] and self._due(source) <= now]

    def next_deadline(self) -> float | None:
        """When the first source that was asked is stalled."""
        return min((self._due(source) for source in self.sources if self._asked[source]), default=None)

    def shares(self) -> list[tuple[PeerId, int]]:
        """(source, parts given), the most generous first."""
        return sorted(_counted(self.given_by.values()).items(), key=lambda share: (-share[1], share[0]))

    def _due(self, source: PeerId) -> float:
        return self._heard[source] + self._patience_s


def _counted(sources: Iterable[PeerId]) -> dict[PeerId, int]:
    counts: dict[PeerId, int] = {}
    for source in sources:
        counts[source] = counts.get(source, 0) + 1
    return counts
