"""UDP between simulated hosts, as asyncio's datagram transport shows it."""

from __future__ import annotations

import asyncio
from typing import Any

from marfl_peer.lab.simulator.faces import MachineFace


class UdpSocket(asyncio.DatagramTransport):
    """Bound to a port of its host."""

    def __init__(self, host: MachineFace, protocol: asyncio.DatagramProtocol, port: int) -> None:
        """Raises: OSError if the port is taken."""
        if port in host.udp_sockets:
            raise OSError(98, "Address already in use")
        super().__init__({"sockname": (host.address, port)})
        self._host, self._protocol, self._port = host, protocol, port
        self._is_closed = False
        host.udp_sockets[port] = self

    def is_closing(self) -> bool:
        return self._is_closed

    def sendto(self, data: Any, addr: Any = None) -> None:
        if self._is_closed:
            return
        host, port = str(addr[0]), int(addr[1])
        source, content = (self._host.address, self._port), bytes(data)
        world = self._host.world

        def deliver() -> None:
            there = world.host_at(host)
            if there is None or not there.is_up:
                return
            socket = there.udp_sockets.get(port)
            if socket is not None:
                there.soon(lambda: socket.received(content, source))

        world.network.datagram(self._host, host, len(content), deliver)

    def received(self, data: bytes, source: tuple[str, int]) -> None:
        if not self._is_closed:
            self._host.world.note_bytes(self._host, source, len(data))
            self._protocol.datagram_received(data, source)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._host.udp_sockets.pop(self._port, None)
            self._host.soon(lambda: self._protocol.connection_lost(None))

    abort = close
