"""What a peer says of itself to whoever asks: the schema of `status --json`, which `top` and `doctor` read, too.

Knows names and types. A peer gives all fields; a reader takes what an older release leaves out as None.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import (
    ConnectionRefused,
    Fact,
    GroupFinished,
    IterationSkipped,
    PeerSeen,
    PeerStopped,
    RemoteFault,
    StateNotSaved,
    StateRejected,
)
from marfl_peer.ids import short

MAX_DETAIL = 200


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Something that went wrong, here or with another peer. `at`: Unix seconds; `iteration`: where this peer was."""

    at: float
    iteration: int
    code: str
    detail: str


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the view, as the asked peer sees it. `status`: joined, left, lost or unknown. One that is dial-only
    has no address."""

    peer_id: str
    address: str = ""
    dial_only: bool = False
    status: str = "unknown"
    connected: bool = False


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes and counts are since the peer's process began. `time` is Unix seconds by the peer's own clock."""

    version: str | None = None
    protocol: int | None = None
    """Version of the protocol between peers."""
    time: float | None = None
    uptime_s: float | None = None
    run_id: str | None = None
    task: str | None = None
    peer_id: str | None = None
    incarnation: int | None = None
    address: str | None = None
    """HOST:PORT that it announces; empty where it announces none."""
    dial_only: bool | None = None
    """Whether it opens all its connections itself, and nobody can dial it."""
    started: bool | None = None
    """Whether it is in a swarm."""
    shard: int | None = None
    grid: tuple[int, ...] | None = None
    cell: int | None = None
    coordinates: tuple[int, ...] | None = None
    """Of the cell; None without one."""
    peers: tuple[MemberRow, ...] | None = None
    peers_seen: int | None = None
    peers_known: int | None = None
    iteration: int | None = None
    """The one under way."""
    iterations: int | None = None
    """Of the whole run."""
    finished: int | None = None
    """The last one that this peer finished."""
    phase: str | None = None
    """entering, training, averaging, between iterations, or `stopped: ` and why."""
    round: int | None = None
    """While it averages."""
    rounds: int | None = None
    """Of an iteration."""
    group: tuple[str, ...] | None = None
    """Members of the group that it is in, or was in last."""
    groups: dict[str, int] | None = None
    """How many groups ended how."""
    test_accuracy: float | None = None
    """The swarm's at the last test, 0 to 1."""
    evaluated_iteration: int | None = None
    """The iteration whose state was tested."""
    train_loss: float | None = None
    iteration_seconds: float | None = None
    """How long the last one took."""
    iterations_per_minute: float | None = None
    """Over the last few."""
    bytes_sent: dict[str, int] | None = None
    """By kind: tensor, control, dht, state."""
    bytes_received: int | None = None
    last_failure: Failure | None = None
    epsilon_mate: float | None = None
    """Spent so far against a group-mate, where updates are private; the next three likewise."""
    epsilon_outsider: float | None = None
    delta: float | None = None
    releases: int | None = None


def read_status(answer: Mapping[str, object]) -> Status:
    """What a peer answered, checked. Raises: RemoteProtocolError for values of other types."""
    try:
        return msgspec.convert(dict(answer), Status)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("bad_message", f"a status that is none: {error}") from None


def failure_in(fact: Fact) -> tuple[str, str] | None:
    """(code, detail) of a fact that tells of a failure; None for all others."""
    match fact:
        case RemoteFault() | ConnectionRefused():
            return fact.code, f"{fact.remote}: {fact.detail}"[:MAX_DETAIL]
        case PeerSeen(event="lost"):
            return "peer_lost", f"{short(fact.peer_id)}: {fact.reason}"[:MAX_DETAIL]
        case GroupFinished(outcome=("partial" | "alone" | "skipped") as outcome):
            return f"group_{outcome}", f"round {fact.round}: {fact.absent} absent"
        case IterationSkipped():
            return "iteration_skipped", f"iteration {fact.iteration}: {fact.reason}"[:MAX_DETAIL]
        case StateNotSaved():
            return "state_not_saved", fact.detail[:MAX_DETAIL]
        case StateRejected():
            return f"state_{fact.reason}", fact.detail[:MAX_DETAIL]
        case PeerStopped(reason="error"):
            return "stopped", fact.detail[:MAX_DETAIL]
    return None
