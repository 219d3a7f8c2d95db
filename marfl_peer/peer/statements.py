"""The records that a peer signs about itself and its run: what others may hold it to."""

from __future__ import annotations

from collections.abc import Callable

from marfl_peer.clock import Clock
from marfl_peer.config import Settings, parse_shard
from marfl_peer.ids import DhtKey, RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer.adoption import run_key
from marfl_peer.peer.roster import member_key
from marfl_peer.protocol.messages import PROTOCOL_VERSION
from marfl_peer.protocol.records import MemberBody, Record, RunBody, encode_body

LIFETIME_S = 3000
"""Of a record; the DHT's upkeep renews it before."""


class Statements:
    """`address()` is where this peer listens; `shard` is the part of the data that it owns, once it has one."""

    def __init__(
        self,
        *,
        identity: Identity,
        settings: Settings,
        schema_digest: str,
        clock: Clock,
        address: Callable[[], tuple[str, int]],
    ) -> None:
        self.shard: int | None = None
        self._identity, self._settings, self._schema_digest = identity, settings, schema_digest
        self._clock, self._address = clock, address
        self._born = identity.incarnation

    def member(self) -> Record:
        """Where this peer is reached and which shard it claims."""
        settings = self._settings
        host, port = self._address()
        claim, shards = parse_shard(settings.shard) if settings.shard else (self.shard, settings.shards)
        body = MemberBody(
            host=host,
            port=port,
            weight=0,
            shard=claim,
            shards=shards,
            version=PROTOCOL_VERSION,
            born=self._born,
        )
        key = member_key(RunId(settings.run_id), self._identity.peer_id)
        return self._identity.sign_record(key=key, body=encode_body(body), expires_at=self._expiry())

    def run(self) -> Record:
        """The settings that all peers of the run share."""
        body = RunBody(
            settings=self._settings.shared(),  # type: ignore[arg-type]  # shared settings are scalars
            schema_digest=self._schema_digest,
            founder=self._identity.peer_id,
        )
        key = DhtKey(run_key(self._settings.run_id))
        return self._identity.sign_record(key=key, body=encode_body(body), expires_at=self._expiry())

    def _expiry(self) -> int:
        return int(self._clock.wall()) + LIFETIME_S
