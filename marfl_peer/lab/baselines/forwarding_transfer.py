"""RDFL on the wire: segments are read into memory of a pool, from where they are passed on and combined."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marfl_peer.averaging.codecs.float32 import BYTES_A_VALUE, as_bytes
from marfl_peer.averaging.finite import is_finite
from marfl_peer.errors import LocalProtocolError
from marfl_peer.lab.baselines.forwarding import ForwardingExchange, plan_forwarding
from marfl_peer.lab.baselines.passing import Add, Stage
from marfl_peer.lab.baselines.passing_transfer import PassingTransfer
from marfl_peer.peer.flows import Order
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.messages import Propose
from marfl_peer.protocol.shares import check_shares


class ForwardingTransfer(PassingTransfer):
    """A segment's memory is let go of when it is combined here and sent."""

    def __init__(self, order: Order) -> None:
        self._exchange = ForwardingExchange(order.me, plan_forwarding(order.members, length=order.contribution.numel()))
        super().__init__(order, self._exchange)
        self._own_bytes = as_bytes(order.contribution)
        self._parts: dict[Span, Tensor] = {}
        """By their place among all members' vectors, until they are combined."""

    def _memory(self, stage: Stage, span: Span) -> memoryview:
        values = self._parts[span] = torch.empty(span.length)
        return as_bytes(values)

    def _is_finite(self, stage: Stage, span: Span) -> bool:
        return is_finite(self._parts[span])

    def _payload(self, stage: Stage, span: Span) -> memoryview:
        if span in self._parts:
            return as_bytes(self._parts[span])
        begin = self._exchange.placed(self._me, Span(0, 0)).start
        return self._own_bytes[BYTES_A_VALUE * (span.start - begin) : BYTES_A_VALUE * (span.stop - begin)]

    def _add(self, step: Add) -> None:
        raise LocalProtocolError("who forwards combines, it does not add")

    def _reduce(self, span: Span) -> None:
        own = self._order.contribution.numpy()[span.start : span.stop]
        placed = [(peer, self._exchange.placed(peer, span)) for peer in self._plan.contributors]
        parts = [own if peer == self._me else self._parts.pop(place).numpy() for peer, place in placed]
        out = self.result.numpy()[span.start : span.stop]
        self._tools.strategy(out, parts, self._plan.weights, self._tools.scratch)


@dataclass(frozen=True, slots=True)
class ForwardingFlow:
    """How bytes flow in RDFL."""

    balances = False

    def check(self, proposal: Propose) -> None:
        check_shares(proposal, "all-gather")

    def stretch(self, members: int) -> float:
        """Each passes on a vector of each of the others, where a butterfly's members send two in all."""
        return max(1.0, (members - 1) / 2)

    def transfer(self, order: Order) -> ForwardingTransfer:
        return ForwardingTransfer(order)
