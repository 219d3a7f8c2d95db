"""Who dials whom, in one table, and when somebody that could not be reached is dialled again.

A dial-only peer is one that nobody can reach: it sits behind NAT or a firewall, listens to no one and opens all its
connections itself. Knows two peers and times; not what a connection is.
"""

from __future__ import annotations

from enum import Enum, auto

from marfl_peer.ids import PeerId

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Way(Enum):
    """How a connection from one peer to another comes about."""

    DIAL = auto()
    DIAL_SECOND = auto()
    """Both may dial, and the lower id does so first."""
    AWAIT = auto()
    """The other one dials."""
    NONE = auto()
    """Neither can dial the other: they have to do without."""


def way_between(me: PeerId, peer: PeerId, *, i_listen: bool, it_listens: bool) -> Way:
    """
    | this peer | the other | who dials                        |
    | --------- | --------- | -------------------------------- |
    | listens   | listens   | both, the lower id first         |
    | dial-only | listens   | this peer                        |
    | listens   | dial-only | the other; this peer awaits it   |
    | dial-only | dial-only | nobody: a relay is out of scope  |
    """
    if it_listens:
        return Way.DIAL_SECOND if i_listen and peer < me else Way.DIAL
    return Way.AWAIT if i_listen else Way.NONE


def pause_s(failures: int) -> float:
    """How long a dial-only peer leaves a member in peace that it tried to reach so often, in vain."""
    return min(FIRST_PAUSE_S * 2.0 ** min(failures, 30), LONGEST_PAUSE_S)
