"""The delayed update: what was trained beside an exchange goes on from the exchange's result.

theta <- theta + (agreed - snapshot), and the same for momentum and float buffers: `snapshot` is what was brought to the
exchange and what training went on from, `agreed` what came back. Knows flat vectors; not who trains, nor when.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marfl_peer.averaging.vector import Entry, VectorSchema


@torch.no_grad()
def correct_(schema: VectorSchema, trained: Tensor, *, snapshot: Tensor, agreed: Tensor) -> None:
    """Moves `trained` [n] by agreed - snapshot [n]; the memory of `snapshot` is used up.

    A buffer of which no value is negative, neither as trained nor as agreed, keeps that, since it may be a variance:
    where it would not, the agreed value counts.
    """
    never_negative = [
        entry
        for entry in schema.entries
        if entry.part == "buffer" and _is_never_negative(trained, entry) and _is_never_negative(agreed, entry)
    ]
    trained.add_(snapshot.neg_().add_(agreed))
    for entry in never_negative:
        moved = _span(trained, entry)
        moved.copy_(torch.where(moved < 0, _span(agreed, entry), moved))


def _span(vector: Tensor, entry: Entry) -> Tensor:
    return vector[entry.offset : entry.offset + entry.size]


def _is_never_negative(vector: Tensor, entry: Entry) -> bool:
    return bool((_span(vector, entry) >= 0).all())
