"""What the parts of a simulated world know of each other: the world's face to sockets, and a machine's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class WorldFace(Protocol):
    """Time, and what is to happen in it."""

    seed: int
    time: float

    @property
    def network(self) -> NetworkFace: ...

    def call(self, time: float, step: Callable[[], object]) -> None: ...

    def after(self, delay_s: float, step: Callable[[], object]) -> None: ...

    def soon(self, loop: asyncio.AbstractEventLoop, handle: asyncio.Handle) -> None: ...

    def at(self, time: float, loop: asyncio.AbstractEventLoop, handle: asyncio.Handle) -> None: ...

    def host_at(self, address: str) -> MachineFace | None: ...

    def note_failure(self, host: MachineFace, text: str) -> None: ...

    def note_bytes(self, host: MachineFace, source: tuple[str, int], count: int) -> None: ...


class NetworkFace(Protocol):
    """The way of a packet from one machine to another."""

    def segment(self, source: MachineFace, destination: str, size_bytes: int, deliver: Callable[[], None]) -> float: ...

    def datagram(self, source: MachineFace, destination: str, size_bytes: int, deliver: Callable[[], None]) -> None: ...


class MachineFace(Protocol):
    """The machine under a loop and its sockets. `process` is whatever runs on it now; `ends`, `listeners` and
    `udp_sockets` are what that has open."""

    index: int
    address: str
    is_up: bool
    slowness: float
    uplink_free_at: float
    tap: TapFace | None
    ends: list[Any]
    listeners: dict[int, Any]
    udp_sockets: dict[int, Any]

    @property
    def world(self) -> WorldFace: ...

    @property
    def process(self) -> object | None: ...

    def now(self) -> float: ...

    def world_time(self, local: float) -> float: ...

    def spent_s(self) -> float: ...

    def next_port(self) -> int: ...

    def loop(self) -> asyncio.AbstractEventLoop: ...

    def runs(self, loop: asyncio.AbstractEventLoop) -> bool: ...

    def soon(self, step: Callable[[], object]) -> None: ...


class TapFace(Protocol):
    """What sees the bytes that a machine writes and reads on its connections, where somebody wants to. An `end` is a
    `tcp.End`, a `mark` the tap's own word for the end of something."""

    def write(self, end: Any, data: bytes) -> None:
        """The process wrote: what really leaves is the tap's to `queue`."""

    def cut(self, end: Any, data: bytes) -> Sequence[tuple[bytes, Any]]:
        """What arrived, in the pieces in which it is to be read; one without a mark (None) is not told of."""

    def reads(self, end: Any, mark: Any) -> None:
        """The marked piece is about to be read; if the process ends here, it never is."""

    def has_read(self, end: Any, mark: Any) -> None: ...
