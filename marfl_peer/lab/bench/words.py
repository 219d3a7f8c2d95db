"""What the bench and its child processes say to each other: one JSON line each over a Unix stream socket.

A child says who it is and is told its role. Then, as often as asked: `Arm`, `Ready` when its vector is there, `Go` when
all are ready, `Ended` when it has the result, `Go` when all have it, `Done`. Must not know torch, peers or processes.
"""

from __future__ import annotations

import msgspec

from marfl_peer.lab.bench.callbacks import Callback


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first line of a child: its index in the nursery."""

    index: int


class PeerRole(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Be a peer with the settings that the child was started with. `floats`: theta and momentum together; `base`: the
    file of what all bring a multiple of. `namespace`: the network namespace to live in, if any."""

    rank: int
    ranks: int
    floats: int
    base: str
    namespace: str = ""
    is_watched: bool = False
    """Whether to watch the callbacks, on asyncio's loop: slower than what a peer runs on"""


class GlooRole(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Be a rank of torch.distributed with gloo. `lines`: for every round the ranks of each group. `interface`: that in
    the `namespace`; loopback where there is none."""

    rank: int
    ranks: int
    floats: int
    store: str
    lines: tuple[tuple[tuple[int, ...], ...], ...]
    is_exact: bool
    """Whether everybody has the mean of all after all rounds: not on a grid with empty cells"""
    namespace: str = ""
    interface: str = ""


class HivemindRole(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Be one of hivemind's averagers. `contacts`: addresses of others, none for the first."""

    rank: int
    ranks: int
    floats: int
    group_size: int
    rounds: int
    contacts: tuple[str, ...]


class Arm(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make a fresh vector. `what` is done with it where there is a choice: "groups" or "flat"; `checked`: the result is
    compared with what must come out."""

    what: str
    checked: bool


class Go(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All have come so far."""


class Entered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child is connected with the others, and can be reached by them at `contacts`, where that matters."""

    contacts: tuple[str, ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The vector is there; nothing was sent yet."""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The result is there; nothing was done with it yet, which would take processors from who still averages."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`began` and `ended`, seconds on the machine's monotonic clock: from the vector to the result.

    `cpu_s` is what the process took of processors meanwhile, in all its threads, `call_s` the whole call that a user
    makes, without the wait for the others. `error` and `digest` are of the result,
    where it was checked. Of peers: bytes that were sent since the last `Done` by kind, look-ups in the DHT likewise,
    groups in which somebody was missing, and what was measured of the uplink; `callbacks` of those that are watched.
    `wrong` says why the result cannot be right, `failure` why there is none.
    """

    began: float
    ended: float
    cpu_s: float = 0.0
    call_s: float = 0.0
    error: float | None = None
    digest: str = ""
    bytes_sent: dict[str, int] = {}
    dht_lookups: int = 0
    groups_partial: int = 0
    uplink_bytes_per_s: float = 0.0
    callbacks: list[Callback] = []
    wrong: str = ""
    failure: str = ""


Role = PeerRole | GlooRole | HivemindRole
Order = PeerRole | GlooRole | HivemindRole | Arm | Go
Answer = Hello | Entered | Ready | Ended | Done

MAX_LINE_BYTES = 1 << 20


def encode(message: Order | Answer) -> bytes:
    """One line of JSON with its newline."""
    return msgspec.json.encode(message) + b"\n"


def decode_order(line: bytes) -> Order:
    """Raises: msgspec.DecodeError."""
    order: Order = msgspec.json.decode(line, type=Order)
    return order


def decode_answer(line: bytes) -> Answer:
    """Raises: msgspec.DecodeError."""
    answer: Answer = msgspec.json.decode(line, type=Answer)
    return answer
