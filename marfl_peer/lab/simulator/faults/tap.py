"""What sees the frames of a host: on its way out each can be counted, rewritten, or be the last thing the host did.

Knows streams and frames; what is to happen at one is told by whoever installs it.
"""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.lab.simulator.faults.cutting import Cutter, Frame
from marfl_peer.lab.simulator.faults.triggers import Direction, Edge
from marfl_peer.lab.simulator.tcp import End
from marfl_peer.protocol.messages import AnyMessage

OnFrame = Callable[[End, AnyMessage, Direction, Edge], None]
Rewrite = Callable[[AnyMessage, bytes], list[bytes]]
"""What is sent in place of a frame."""


class FrameTap:
    """Stays with its host through all of its lives."""

    def __init__(self, on_frame: OnFrame) -> None:
        self._on_frame = on_frame
        self.rewrite: Rewrite | None = None
        self._out: dict[End, tuple[Cutter, list[bytes]]] = {}
        self._in: dict[End, Cutter] = {}

    def write(self, end: End, data: bytes) -> None:
        """The process writes: whole frames go on, the beginning of one waits for its rest."""
        cutter, begun = self._out.setdefault(end, (Cutter(), []))
        for piece, frame in cutter.cut(data):
            begun.append(piece)
            if frame is None:
                continue
            whole = b"".join(begun)
            begun.clear()
            self._on_frame(end, frame.message, "sends", "before")
            for sent in [whole] if self.rewrite is None else self.rewrite(frame.message, whole):
                end.queue(sent)
            self._on_frame(end, frame.message, "sends", "after")

    def cut(self, end: End, data: bytes) -> list[tuple[bytes, Frame | None]]:
        """What arrived, cut behind every frame."""
        return self._in.setdefault(end, Cutter()).cut(data)

    def reads(self, end: End, frame: Frame) -> None:
        """The process is about to read the end of a frame; it may be that it does not get there."""
        if not frame.told:
            frame.told = True
            self._on_frame(end, frame.message, "receives", "before")

    def has_read(self, end: End, frame: Frame) -> None:
        self._on_frame(end, frame.message, "receives", "after")
