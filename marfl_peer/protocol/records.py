"""The signed, expiring records that peers keep in the DHT for each other, and what may stand in them.

A record says one thing of one peer under one key. It is signed over all of its fields, so whoever carries it
can neither change it nor move it to another key. Of one peer's records under a key the highest (incarnation,
sequence) counts; one with an empty body is a tombstone: it withdraws. Where they are stored is unknown here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgpack
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from marfl_peer.config import MAX_WEIGHT
from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.ids import DhtKey, PeerId, peer_id_of
from marfl_peer.protocol import signatures
from marfl_peer.protocol.signatures import PublicKey, Signature

CONTEXT = b"record 1"
MAX_RECORD_BYTES = 4096
MAX_BODY_BYTES = 3072
MAX_RECORDS_A_KEY = 256
MAX_LIFETIME_S = 3600
MAX_COUNTER = 2**53
"""Limit of incarnation and sequence: what any reader of msgpack can hold."""

PeerIdText = Annotated[str, Meta(pattern=r"\A[0-9a-f]{40}\Z")]
Host = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z._:%-]{1,255}\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
PortOrNone = Annotated[int, Meta(ge=0, le=65535)]
Counter = Annotated[int, Meta(ge=0, le=MAX_COUNTER)]
Index = Annotated[int, Meta(ge=0, le=2**31)]


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """`expires_at` is in whole Unix seconds; `view_digest` is that of the view the record was made under."""

    key: Annotated[bytes, Meta(min_length=20, max_length=20)]
    peer_id: PeerIdText
    public_key: PublicKey
    incarnation: Counter
    sequence: Counter
    view_digest: Annotated[bytes, Meta(max_length=32)]
    expires_at: Counter
    body: Annotated[bytes, Meta(max_length=MAX_BODY_BYTES)]
    signature: Signature

    @property
    def is_tombstone(self) -> bool:
        return not self.body

    @property
    def order(self) -> tuple[int, int, int, bytes]:
        """The greater of two records of one peer under one key counts. The last two only break ties, the same
        way everywhere, between records that a peer should not have signed both."""
        return self.incarnation, self.sequence, self.expires_at, self.signature


class MemberBody(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Where a member listens, the samples it owns (`weight`) and the shard of the data that it claims.

    `port` 0: it is dial-only: it opens all its connections itself, and nobody can reach it at `host`.
    `born`: the incarnation with which its process began. A peer that was called lost and is not lives on under a higher
    one; one that was started again has forgotten what it exchanged before.
    """

    host: Host
    port: PortOrNone
    weight: Annotated[int, Meta(ge=0, le=MAX_WEIGHT)]
    shard: Index | None
    shards: Annotated[int, Meta(ge=1, le=2**31)]
    version: Annotated[int, Meta(ge=0, le=65535)]
    born: Annotated[int, Meta(ge=0, le=MAX_COUNTER)] = 0

    def __post_init__(self) -> None:
        if self.shard is not None and self.shard >= self.shards:
            raise ValueError(f"shard {self.shard} of {self.shards}")

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it is dialled; None for one that is dial-only."""
        return (self.host, self.port) if self.port else None


class GroupBody(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """A member announces that from `iteration` on it plays `cell` on the line that the key names."""

    host: Host
    port: Port
    cell: Index
    iteration: Index


class RunBody(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """The settings that all peers of a run share, by name."""

    settings: Annotated[dict[Annotated[str, Meta(max_length=64)], str | int | float | bool | None], Meta(max_length=64)]
    schema_digest: Annotated[str, Meta(pattern=r"\A[0-9A-Za-z._:-]{0,128}\Z")]
    founder: PeerIdText

    def __post_init__(self) -> None:
        for name, value in self.settings.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"setting {name} is not finite")


Body = MemberBody | GroupBody | RunBody


def encode_body(body: Body) -> bytes:
    """Raises: LocalProtocolError for a body that no other peer would take."""
    data = msgspec.msgpack.encode(body)
    try:
        decode_body(data)
    except RemoteProtocolError as error:
        raise LocalProtocolError(str(error)) from error
    return data


def decode_body(data: bytes) -> Body:
    """Raises: RemoteProtocolError `record_body` for anything but a valid body (also for a tombstone's)."""
    raw = unpack(data, max_bytes=MAX_BODY_BYTES, code="record_body")
    try:
        body: Body = msgspec.convert(raw, Body, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("record_body", f"not a record's body: {error}") from error
    return body


def sign_record(
    private: Ed25519PrivateKey,
    *,
    key: DhtKey,
    incarnation: int,
    sequence: int,
    body: bytes,
    expires_at: int,
    view_digest: bytes = b"",
) -> Record:
    """A record of the key's owner; `body` comes from `encode_body`, or is empty to withdraw.

    Raises: LocalProtocolError if a field is out of its range.
    """
    public_key = private.public_key().public_bytes_raw()
    unsigned = Record(
        key=key,
        peer_id=peer_id_of(public_key),
        public_key=public_key,
        incarnation=incarnation,
        sequence=sequence,
        view_digest=view_digest,
        expires_at=expires_at,
        body=body,
        signature=bytes(signatures.SIGNATURE_BYTES),
    )
    signature = signatures.sign(private, CONTEXT, _signed_bytes(unsigned))
    record = msgspec.structs.replace(unsigned, signature=signature)
    try:
        decode(encode(record))
    except RemoteProtocolError as error:
        raise LocalProtocolError(str(error)) from error
    return record


def encode(record: Record) -> bytes:
    """One msgpack array, the only encoding of this record that `decode` takes."""
    return msgspec.msgpack.encode(record)


def decode(data: bytes) -> Record:
    """The record, with every field in its range; its signature, key and expiry are for `verify` to check.

    Raises: RemoteProtocolError `record_oversized` or `record_malformed`.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise RemoteProtocolError("record_oversized", f"a record of {len(data)} bytes")
    raw = unpack(data, max_bytes=MAX_RECORD_BYTES, code="record_malformed")
    try:
        record = msgspec.convert(raw, Record, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RemoteProtocolError("record_malformed", f"not a record: {error}") from error
    if encode(record) != data:  # one record, one encoding: bytes can be compared and remembered instead of fields
        raise RemoteProtocolError("record_malformed", "a record in an unusual encoding")
    return record


def verify(record: Record, *, key: DhtKey, now_wall: float) -> None:
    """Whether the record may be believed under this DHT key at this wall time (Unix seconds).

    Raises: RemoteProtocolError `record_key`, `record_expired`, `record_lifetime`, `record_peer_id` or
    `record_signature`.
    """
    verify_place(record, key=key, now_wall=now_wall)
    verify_signature(record)


def verify_place(record: Record, *, key: DhtKey, now_wall: float) -> None:
    """The part of `verify` that depends on key and time. Raises: as there."""
    if record.key != key:
        raise RemoteProtocolError("record_key", "a record of another key")
    if record.expires_at <= now_wall:
        raise RemoteProtocolError("record_expired", f"expired {now_wall - record.expires_at:.0f} s ago")
    if record.expires_at > now_wall + MAX_LIFETIME_S:
        raise RemoteProtocolError("record_lifetime", f"expires only in {record.expires_at - now_wall:.0f} s")


def verify_signature(record: Record) -> None:
    """The part of `verify` that holds for ever once it holds. Raises: as there."""
    if record.peer_id != peer_id_of(record.public_key):
        raise RemoteProtocolError("record_peer_id", "peer id and public key do not belong together")
    if not signatures.verify(record.public_key, CONTEXT, _signed_bytes(record), record.signature):
        raise RemoteProtocolError("record_signature", f"bad signature of {record.peer_id[:8]}")


def merge(records: Iterable[Record]) -> list[Record]:
    """What verified records of one key, in any order and however often, say together: the last word of each
    peer that did not withdraw, sorted by peer id, the lowest MAX_RECORDS_A_KEY of them."""
    last: dict[str, Record] = {}
    for record in records:
        known = last.get(record.peer_id)
        if known is None or record.order > known.order:
            last[record.peer_id] = record
    standing = sorted(peer_id for peer_id, record in last.items() if not record.is_tombstone)
    return [last[PeerId(peer_id)] for peer_id in standing[:MAX_RECORDS_A_KEY]]


def unpack(data: bytes, *, max_bytes: int, code: str) -> object:
    """Plain objects of one msgpack value. No length is believed that goes beyond the bytes that are there.

    Raises: RemoteProtocolError(code) if the data are longer than `max_bytes` or not exactly one value.
    """
    if len(data) > max_bytes:
        raise RemoteProtocolError(code, f"{len(data)} bytes where {max_bytes} are allowed")
    try:
        value: object = msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=True)
    except ValueError as error:  # msgpack's errors all derive from it
        raise RemoteProtocolError(code, f"not msgpack: {error}") from error
    return value


def _signed_bytes(record: Record) -> bytes:
    return msgspec.msgpack.encode(
        (
            record.key,
            record.peer_id,
            record.public_key,
            record.incarnation,
            record.sequence,
            record.view_digest,
            record.expires_at,
            record.body,
        )
    )
