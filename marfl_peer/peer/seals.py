"""Owners' signatures over their chunks of a result, which let a late peer take the result from anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from marfl_peer.averaging.digest import digest_of
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId, peer_id_of
from marfl_peer.network.identity import Identity
from marfl_peer.protocol import signatures
from marfl_peer.protocol.exchange import Span
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName

_CONTEXT = b"marfl-peer chunk 1"


class Sealer:
    def __init__(self, identity: Identity, run_id: str) -> None:
        self._identity, self._run_id = identity, run_id

    def seal(self, name: LineName, ballot: Ballot, chunk: Span, digest: bytes) -> ChunkDigest:
        """This peer's word that floats [start, stop) of that ballot's result have this digest."""
        return ChunkDigest(
            name=name,
            ballot=ballot,
            start=chunk.start,
            stop=chunk.stop,
            digest=digest,
            signature=self._identity.sign(_CONTEXT, self._message(name, ballot, chunk, digest)),
            public_key=self._identity.public_key,
        )

    def check(
        self,
        seals: Iterable[ChunkDigest],
        *,
        name: LineName,
        ballot: Ballot,
        members: Collection[PeerId],
        length: int,
        vector: memoryview,
        value_bytes: int,
    ) -> None:
        """Raises: RemoteProtocolError unless seals of members cover the whole vector and every byte fits them."""
        reached = 0
        for seal in sorted(seals, key=lambda seal: seal.start):
            chunk = Span(seal.start, seal.stop)
            message = self._message(name, ballot, chunk, seal.digest)
            if seal.start != reached or peer_id_of(seal.public_key) not in members:
                raise RemoteProtocolError("bad_seal", f"no member's seal covers float {reached}")
            if not signatures.verify(seal.public_key, _CONTEXT, message, seal.signature):
                raise RemoteProtocolError("bad_seal", "a chunk's signature is wrong")
            if digest_of(vector[seal.start * value_bytes : seal.stop * value_bytes]) != seal.digest:
                raise RemoteProtocolError("bad_seal", "a chunk is not what its owner signed")
            reached = seal.stop
        if reached != length:
            raise RemoteProtocolError("bad_seal", f"seals cover {reached} of {length} floats")

    def _message(self, name: LineName, ballot: Ballot, chunk: Span, digest: bytes) -> bytes:
        text = f"{self._run_id} {name.iteration} {name.round} {name.line} {ballot.attempt} {ballot.leader}"
        return f"{text} {chunk.start} {chunk.stop} ".encode() + digest
