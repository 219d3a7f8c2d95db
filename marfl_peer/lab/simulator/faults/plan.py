"""The faults of a simulated run, as values: what befalls whom, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from marfl_peer.lab.simulator.faults.triggers import Trigger

Disk = Literal["kept", "damaged", "wiped"]
Lie = Literal["nan", "inf", "garbage", "oversized", "malformed", "wrong_digest", "duplicate", "replay"]
CutDirection = Literal["both", "out", "in"]
Part = Literal["anyone", "leader", "member", "owner"]


# whom


@dataclass(frozen=True, slots=True)
class Hosts:
    """These, by index; newcomers are counted on from the founders."""

    indices: tuple[int, ...]

    def __str__(self) -> str:
        return "peers " + ", ".join(map(str, self.indices)) if len(self.indices) > 1 else f"peer {self.indices[0]}"


@dataclass(frozen=True, slots=True)
class Share:
    """So many of those that run, drawn from the seed; at least one."""

    share: float

    def __str__(self) -> str:
        return f"{self.share:.0%}"


@dataclass(frozen=True, slots=True)
class Role:
    """One peer, found when the trigger comes. leader: the lowest id of a line; owner: the one of the line's last chunk;
    member: one that does not lead; anyone: whoever meets the trigger first."""

    part: Part

    def __str__(self) -> str:
        return {"anyone": "anyone", "owner": "an owner"}.get(self.part, f"a {self.part}")


Who = Hosts | Share | Role
ANYONE = Role("anyone")


# what


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The process is killed, or its machine loses power without a word to anybody (`silently`). It stays away, or comes
    back on its disk, a damaged disk, or an empty one."""

    silently: bool = False
    restart_after_s: float | None = None
    disk: Disk = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Its work and its uplink take so many times as long."""

    factor: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Its clock runs so much faster from now on, and its wall time jumps."""

    drift: float = 0.0
    step_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """No packet passes between these hosts and `others` (None: all others); `direction` as these hosts see it."""

    for_s: float
    others: Hosts | None = None
    direction: CutDirection = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """All links are like this for a time; None: as before."""

    for_s: float
    latency_s: float | None = None
    jitter_s: float | None = None
    bytes_per_s: float | None = None
    loss: float | None = None
    duplication: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """It is asked to leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomers:
    """So many more peers, at once."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """For a time it rewrites what it sends, each frame that qualifies with probability `share`."""

    lie: Lie
    for_s: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The connection that the frame is sent on stands still; others overtake it. Needs a trigger that `sends`."""

    for_s: float


Action = Crash | Pause | Slow | Clock | Cut | Weather | Leave | Newcomers | Hostile | Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    what: Action
    when: Trigger
    who: Who = ANYONE

    def __str__(self) -> str:
        fields = [f"{name} {value}" for name in self.what.__slots__ if (value := getattr(self.what, name)) is not None]
        whom = "" if isinstance(self.what, Weather | Newcomers) else f" of {self.who}"
        return f"{type(self.what).__name__.lower()}{whom} {self.when}" + (f" ({', '.join(fields)})" if fields else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens when; nothing by default."""

    faults: tuple[Fault, ...] = ()

    @property
    def newcomers(self) -> int:
        """How many peers come besides the founders."""
        return sum(fault.what.count for fault in self.faults if isinstance(fault.what, Newcomers))
