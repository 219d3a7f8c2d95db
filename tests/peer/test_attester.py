"""An offer is worth what its sender signed: this state, in this run, under its own key."""

from __future__ import annotations

import msgspec
import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.network.identity import Identity
from marfl_peer.peer.attester import Attester
from marfl_peer.protocol.messages import StateOffer

ONE, OTHER = Identity.ephemeral(), Identity.ephemeral()


def offer_of(identity: Identity, run_id: str = "run") -> StateOffer:
    return Attester(identity, run_id).offer(
        iteration=5, vector_bytes=40, digest="ab", maxima=(3,), group=(identity.peer_id,)
    )


def test_own_offer_is_believed() -> None:
    Attester(OTHER, "run").check(ONE.peer_id, offer_of(ONE))


@pytest.mark.parametrize(
    "change",
    [
        {"iteration": 6},
        {"digest": "ac"},
        {"maxima": ()},
        {"group": ()},
        {"vector_bytes": 44},
        {"signature": bytes(64)},
        {"public_key": OTHER.public_key},
    ],
)
def test_changed_offer_is_not(change: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError, match="signature"):
        Attester(OTHER, "run").check(ONE.peer_id, msgspec.structs.replace(offer_of(ONE), **change))


def test_offer_of_somebody_else_or_of_another_run_is_not() -> None:
    with pytest.raises(RemoteProtocolError, match="somebody else"):
        Attester(OTHER, "run").check(OTHER.peer_id, offer_of(ONE))
    with pytest.raises(RemoteProtocolError, match="wrong signature"):
        Attester(OTHER, "run").check(ONE.peer_id, offer_of(ONE, "other run"))
