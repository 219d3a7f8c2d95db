"""One line of four cells, played by peers 0..3; peers 8 and 9 may take over any of them. Its messages, by hand."""

from __future__ import annotations

from marfl_peer.ids import PeerId
from marfl_peer.protocol.instructions import Instruction, Send
from marfl_peer.protocol.lines import Line
from marfl_peer.protocol.messages import Ballot, Here, LineName, Member, Message, Propose, Seat


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


NAME = LineName(iteration=1, round=2, line=0)
VIEW = "abc"
LINE = Line(
    name=NAME,
    view_digest=VIEW,
    players={cell: peer(cell) for cell in range(4)},
    candidates={cell: (peer(8), peer(9)) for cell in range(4)},
)


def seat(cell: int, weight: int = 3) -> Seat:
    return Seat(cell=cell, weight=weight, sums=(float("nan"),), maxima=())


def here(number: int, *cells: int, view: str = VIEW, promised: Ballot | None = None) -> Here:
    seats = tuple(seat(cell) for cell in cells or (number,))
    return Here(name=NAME, view_digest=view, seats=seats, update_s=0.1, promised=promised)


def ballot(attempt: int, leader: int = 0) -> Ballot:
    return Ballot(attempt=attempt, leader=peer(leader))


def members(*numbers: int) -> tuple[Member, ...]:
    return tuple(Member(peer_id=peer(number), seats=(seat(number),), update_s=0.1) for number in numbers)


def propose(attempt: int, *numbers: int, leader: int = 0, view: str = VIEW) -> Propose:
    return Propose(name=NAME, ballot=ballot(attempt, leader), view_digest=view, members=members(*numbers))


def sent(steps: list[Instruction], kind: type[Message]) -> list[tuple[int, Message]]:
    """(to, message) of the messages of a kind."""
    return [(int(s.to, 16), s.message) for s in steps if isinstance(s, Send) and isinstance(s.message, kind)]
