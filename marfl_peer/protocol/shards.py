"""Which part of the data each peer owns: claimed by number, or the lowest that nobody claims. A pure function of the
membership events, so that nobody has to be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from marfl_peer.ids import PeerId
from marfl_peer.protocol.view import MembershipEvent


def assign_shards(
    events: Iterable[MembershipEvent], *, shards: int, claim_of: Callable[[MembershipEvent], int | None]
) -> dict[PeerId, int | None]:
    """The shard of every member; None for one for which none is left.

    Replayed in the order in which the events take effect: leavers give their shards up first, then joiners who
    claim a number get it if it is free, then all others the lowest free one; ties go to the lower id.
    """
    owners: dict[PeerId, int | None] = {}
    by_effect: dict[int, list[MembershipEvent]] = {}
    for event in events:
        if event.kind == "merged":
            continue  # about no single peer
        by_effect.setdefault(event.effective, []).append(event)
    latest: dict[PeerId, int] = {}
    for effective in sorted(by_effect):
        here = sorted(by_effect[effective], key=lambda event: (event.peer_id, event.incarnation))
        for event in here:
            if event.kind != "joined" and event.incarnation >= latest.get(event.peer_id, 0):
                owners.pop(event.peer_id, None)
        # Of a peer that was started twice in an iteration only the last life joins: one peer, one shard.
        joining = list({event.peer_id: event for event in here if event.kind == "joined"}.values())
        for event in joining:
            latest[event.peer_id] = max(latest.get(event.peer_id, 0), event.incarnation)
        _seat(owners, joining, shards, claim_of)
    return owners


def _seat(
    owners: dict[PeerId, int | None],
    joining: list[MembershipEvent],
    shards: int,
    claim_of: Callable[[MembershipEvent], int | None],
) -> None:
    for event in joining:
        owners.pop(event.peer_id, None)
    taken = {shard for shard in owners.values() if shard is not None}
    unseated = []
    for event in joining:
        claim = claim_of(event)
        if claim is not None and claim < shards and claim not in taken:
            owners[event.peer_id] = claim
            taken.add(claim)
        else:
            unseated.append(event)
    free = iter([shard for shard in range(shards) if shard not in taken])
    for event in unseated:
        owners[event.peer_id] = next(free, None)
