"""How bytes flow in a group, as the rounds see it: what carries out the exchange of a ballot; and the flows of MAR.

Knows that a ballot has a transfer; not what matchmaking is, nor where a result goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from marfl_peer.averaging.codecs.coder import Coder
from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.config import Spans
from marfl_peer.ids import PeerId
from marfl_peer.peer.transfer import Transfer, TransferTools
from marfl_peer.protocol.exchange import Plan, plan_exchange
from marfl_peer.protocol.frames import Room
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName, Member, Part, Propose
from marfl_peer.protocol.shares import check_shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One ballot's exchange, as this peer has to carry it out: see `Transfer` for the fields. `coder` is None where
    values travel as they are; `borders` are between parts of the vector that are encoded in different ways; `shares`:
    how much of the vector each of `members` owns, none: all the same."""

    tools: TransferTools
    name: LineName
    ballot: Ballot
    me: PeerId
    members: Sequence[Member]
    contribution: Tensor
    result: Tensor
    coder: Coder | None
    borders: tuple[int, ...]
    shares: Sequence[int]
    on_complete: Callable[[], None]
    on_culprit: Callable[[PeerId], None]


class AnyTransfer(Protocol):
    """What carries out an exchange. `members` are the ballot's; `digests` are its owners', by where chunks begin."""

    name: LineName
    ballot: Ballot
    result: Tensor
    digests: dict[int, ChunkDigest]

    @property
    def members(self) -> tuple[PeerId, ...]: ...

    def start(self) -> None: ...

    def abort(self) -> None: ...

    def settle(self) -> None: ...

    def ready(self, peer: PeerId) -> None: ...

    def room(self, sender: PeerId, part: Part, length: int) -> Room: ...

    def digest_arrived(self, sender: PeerId, digest: ChunkDigest) -> None: ...

    def left_over(self) -> Residuals: ...


class Flow(Protocol):
    """`balances`: whether a leader may give members with slow links less to do."""

    @property
    def balances(self) -> bool: ...

    def check(self, proposal: Propose) -> None:
        """Raises: RemoteProtocolError for a proposal that no leader makes where bytes flow like this."""
        ...

    def stretch(self, members: int) -> float:
        """How many times as long as a butterfly's its exchange may take, on equal links."""
        ...

    def transfer(self, order: Order) -> AnyTransfer: ...


@dataclass(frozen=True, slots=True)
class GroupFlow:
    """The butterfly, or the paper's all-gather."""

    kind: ExchangeKind
    spans: Spans

    @property
    def balances(self) -> bool:
        return self.kind == "butterfly" and self.spans == "measured"

    def check(self, proposal: Propose) -> None:
        check_shares(proposal, self.kind)

    def stretch(self, members: int) -> float:
        return 1.0

    def transfer(self, order: Order) -> Transfer:
        plan = plan_exchange(
            order.members,
            length=order.contribution.numel(),
            kind=self.kind,
            is_coded=order.coder is not None,
            borders=order.borders,
            shares=order.shares,
        )
        return planned(order, plan)


def planned(order: Order, plan: Plan) -> Transfer:
    """The transfer of a plan in which members send to owners, and those back."""
    return Transfer(
        tools=order.tools,
        name=order.name,
        ballot=order.ballot,
        me=order.me,
        plan=plan,
        contribution=order.contribution,
        result=order.result,
        coder=order.coder,
        on_complete=order.on_complete,
        on_culprit=order.on_culprit,
    )
