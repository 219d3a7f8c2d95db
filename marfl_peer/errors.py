"""Every error this package raises on purpose, by whose fault it is.

MarflError
├── ConfigError          the user's settings, files or environment: fix them and start again
├── LocalProtocolError   this program broke its own rules: a bug
├── RemoteProtocolError  another peer sent what it must not: that peer is dropped, the swarm goes on
├── DhtError             the DHT could not do what was asked (nobody answered, nothing stored)
└── PeerLost             a peer stopped answering: its cells are played by others

`code` is one word that serves as log field and metric label; `exit_code` is what the process ends with.
"Too few peers" and "deadline reached" are outcomes of a round, not errors.
"""

from __future__ import annotations


class MarflError(Exception):
    code = "error"
    exit_code = 1


class ConfigError(MarflError):
    """Says which setting or file, its value, and the remedy."""

    code = "config"
    exit_code = 2

    def __init__(self, what: str, value: object, remedy: str) -> None:
        super().__init__(f"{what}: {value!r}: {remedy}" if value is not None else f"{what}: {remedy}")
        self.what = what
        self.value = value
        self.remedy = remedy


class LocalProtocolError(MarflError):
    code = "local_protocol"
    exit_code = 70


class RemoteProtocolError(MarflError):
    """`code` says what was wrong: it is the label under which the rejection is counted."""

    exit_code = 76

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DhtError(MarflError):
    code = "dht"
    exit_code = 69


class PeerLost(MarflError):
    code = "peer_lost"
    exit_code = 69

    def __init__(self, peer_id: str, reason: str) -> None:
        super().__init__(f"peer {peer_id[:12]} is lost: {reason}")
        self.peer_id = peer_id
        self.reason = reason
