"""This peer's word about the states that it holds, and the check of others' words."""

from __future__ import annotations

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId, peer_id_of
from marfl_peer.network.identity import Identity
from marfl_peer.protocol import signatures
from marfl_peer.protocol.messages import StateOffer
from marfl_peer.protocol.votes import CONTEXT, statement


class Attester:
    def __init__(self, identity: Identity, run_id: str) -> None:
        self._identity, self._run_id = identity, run_id

    def offer(
        self, *, iteration: int, vector_bytes: int, digest: str, maxima: tuple[int, ...], group: tuple[PeerId, ...]
    ) -> StateOffer:
        """A signed offer of the state after `iteration`, on which `group` agreed."""
        unsigned = StateOffer(
            iteration=iteration,
            vector_bytes=vector_bytes,
            digest=digest,
            maxima=maxima,
            group=group,
            public_key=self._identity.public_key,
            signature=bytes(signatures.SIGNATURE_BYTES),
        )
        signature = self._identity.sign(CONTEXT, statement(self._run_id, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def check(self, sender: PeerId, offer: StateOffer) -> None:
        """Raises: RemoteProtocolError unless the sender signed this very offer."""
        if peer_id_of(offer.public_key) != sender:
            raise RemoteProtocolError("bad_state", "offers a state with somebody else's signature")
        if not signatures.verify(offer.public_key, CONTEXT, statement(self._run_id, offer), offer.signature):
            raise RemoteProtocolError("bad_state", "offers a state with a wrong signature")
