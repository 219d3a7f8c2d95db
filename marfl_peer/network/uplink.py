"""How fast this peer can send: from what the kernel counted of all its connections while exchanges ran.

The rate of a connection is what it brought over by the time in which it had something to send; those that were busy
share the uplink, so its rate is their sum. Counters of the connections to its members are read when an exchange begins,
and when the last one that runs beside it ends. Knows counters and names of connections; where they come from is not its
business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from statistics import median_low

from marfl_peer.ids import PeerId
from marfl_peer.network.tcp_info import TcpCounters

Reading = Mapping[Hashable, TcpCounters]
"""The counters of some open connections."""

ENOUGH_BYTES = 1_000_000
"""Of an exchange: less says little of a link."""
BUSY_BYTES = 64 * 1024
"""Of a connection in it: one that carries but a few words is idle, or waits for late acknowledgements."""
TICK_S = 0.01
"""The kernel counts time in ticks; this is the longest that is usual."""
SAMPLES = 5


def rate_between(before: Reading, after: Reading) -> float | None:
    """Bytes a second of all connections together; None where too little was sent to tell. What a connection that is new
    has counted is since the first reading, too; one whose counters went back is another."""
    moved, rate = 0, 0.0
    for name, now in after.items():
        then = before.get(name, TcpCounters(0, 0.0))
        if now.acked_bytes < then.acked_bytes or now.sending_s < then.sending_s:
            then = TcpCounters(0, 0.0)
        acked = now.acked_bytes - then.acked_bytes
        if acked >= BUSY_BYTES:
            moved += acked
            rate += acked / max(now.sending_s - then.sending_s, TICK_S)
    return rate if moved >= ENOUGH_BYTES else None


class Uplink:
    """`read(peers)` gives the counters of the connections to them as they are now."""

    def __init__(self, read: Callable[[Iterable[PeerId]], Reading]) -> None:
        self._read = read
        self._running: set[Hashable] = set()
        self._members: list[PeerId] = []
        """Of the exchanges that run, and of those that ran beside them."""
        self._before: dict[Hashable, TcpCounters] = {}
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    @property
    def bytes_per_s(self) -> float:
        """What was usual of late; 0 where nothing was measured."""
        return median_low(self._samples) if self._samples else 0.0

    def begins(self, exchange: Hashable, members: Iterable[PeerId]) -> None:
        """Bytes may be sent to its members from now on."""
        new = [peer for peer in members if peer not in self._members]
        self._before.update(self._read(new))
        self._members += new
        self._running.add(exchange)

    def ends(self, exchange: Hashable) -> None:
        """It is over, however it ended; nothing where it was so already."""
        if exchange not in self._running:
            return
        self._running.discard(exchange)
        if not self._running:
            rate = rate_between(self._before, self._read(self._members))
            self._before, self._members = {}, []
            if rate is not None:
                self._samples.append(rate)
