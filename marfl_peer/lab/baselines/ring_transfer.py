"""The ring all-reduce on the wire. Sums are made in the memory of the result: what was passed on is in nobody's way any
more when the result of the same floats comes, because that begins where the sum ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from marfl_peer.averaging.finite import is_finite
from marfl_peer.errors import LocalProtocolError
from marfl_peer.lab.baselines.passing import Add, Stage
from marfl_peer.lab.baselines.passing_transfer import PassingTransfer
from marfl_peer.lab.baselines.ring import RingExchange, plan_ring
from marfl_peer.peer.flows import Order
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.messages import Propose
from marfl_peer.protocol.shares import check_shares


class RingTransfer(PassingTransfer):
    """The mean alone: each adds its part as a share of the weight, so that no sum is larger than the values."""

    def __init__(self, order: Order) -> None:
        plan = plan_ring(order.members, length=order.contribution.numel())
        super().__init__(order, RingExchange(order.me, plan))
        weights = dict(zip(plan.contributors, plan.weights, strict=True))
        self._share = weights.get(order.me, 0) / max(plan.total_weight, 1)

    def _memory(self, stage: Stage, span: Span) -> memoryview:
        return self._chunk_bytes(span)

    def _is_finite(self, stage: Stage, span: Span) -> bool:
        return is_finite(self.result[span.start : span.stop])

    def _payload(self, stage: Stage, span: Span) -> memoryview:
        return self._chunk_bytes(span)

    def _add(self, step: Add) -> None:
        total, own = self.result[step.start : step.stop], self._order.contribution[step.start : step.stop]
        if step.is_first:
            torch.mul(own, self._share, out=total) if self._share else total.zero_()
        elif self._share:
            term = torch.from_numpy(self._tools.scratch[: total.numel()])
            torch.mul(own, self._share, out=term)
            total.add_(term)

    def _reduce(self, span: Span) -> None:
        raise LocalProtocolError("a ring adds, it does not combine")


@dataclass(frozen=True, slots=True)
class RingFlow:
    """How bytes flow in one ring of all."""

    balances = False

    def check(self, proposal: Propose) -> None:
        check_shares(proposal, "all-gather")

    def stretch(self, members: int) -> float:
        """As much as in a butterfly, in 2 (N - 1) steps."""
        return 1.0

    def transfer(self, order: Order) -> RingTransfer:
        return RingTransfer(order)
