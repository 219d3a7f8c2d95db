"""The datagrams of the DHT: rpcudp's envelope (one byte of kind, 20 of message id, msgpack) around our calls.

A call is `[name, [argument, ...]]`. Everything is checked against its type and size here, before anybody acts on
it. Sockets, contacts and records' meaning are not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.records import MAX_RECORD_BYTES, Port, unpack

MAX_DATAGRAM_BYTES = 8192
RECORDS_BUDGET_BYTES = 6800
"""Bytes of records in one datagram: what the envelope and 16 addresses leave over of it, with room to spare."""
MESSAGE_ID_BYTES = 20
NOBODY = bytes(20)
"""The sender of a call that is not to be remembered: others could not reach it."""
MAX_NODES = 16
MAX_STORED_RECORDS = 64

CALL, ANSWER = b"\x00", b"\x01"

Id = Annotated[bytes, Meta(min_length=20, max_length=20)]
Blob = Annotated[bytes, Meta(min_length=1, max_length=MAX_RECORD_BYTES)]
After = Annotated[str, Meta(pattern=r"\A([0-9a-f]{40})?\Z")]


class NodeAddress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    node_id: Id
    host: Annotated[str, Meta(min_length=1, max_length=64)]
    port: Port


class Ping(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Answered with the node's id: `Pong`."""

    sender: Id


class FindNode(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Answered with the known nodes that are closest to the target: `FoundNodes`."""

    sender: Id
    target: Id


class FindRecords(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Answered with the records under a key of peers whose id is greater than `after`, as many as fit."""

    sender: Id
    target: Id
    after: After


class Store(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Answered with how many of the records are held now: `Stored`."""

    sender: Id
    target: Id
    records: Annotated[list[Blob], Meta(min_length=1, max_length=MAX_STORED_RECORDS)]


Call = Ping | FindNode | FindRecords | Store

_TYPE_OF_CALL: dict[str, type[Call]] = {
    "ping": Ping,
    "find_node": FindNode,
    "find_value": FindRecords,
    "store": Store,
}
_NAME_OF_CALL = {kind: name for name, kind in _TYPE_OF_CALL.items()}


class Pong(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    node_id: Id


class FoundNodes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    nodes: Annotated[list[NodeAddress], Meta(max_length=MAX_NODES)]


class FoundRecords(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Encoded records in the order of their peers' ids, where to go on (the last one's peer id; empty when there
    are no more), and nodes closer to the key."""

    records: list[Blob]
    go_on: After
    nodes: Annotated[list[NodeAddress], Meta(max_length=MAX_NODES)]


class Stored(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    count: int


Answer = Pong | FoundNodes | FoundRecords | Stored
AnswerT = TypeVar("AnswerT", bound=Answer)
CallT = TypeVar("CallT", bound=Call | Answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall:
    message_id: bytes
    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingAnswer:
    """`value` is unchecked: only the caller knows what it asked for. See `decode_answer`."""

    message_id: bytes
    value: object


def encode_call(message_id: bytes, call: Call) -> bytes:
    return CALL + message_id + msgspec.msgpack.encode((_NAME_OF_CALL[type(call)], call))


def encode_answer(message_id: bytes, answer: Answer) -> bytes:
    return ANSWER + message_id + msgspec.msgpack.encode(answer)


def decode(data: bytes) -> IncomingCall | IncomingAnswer:
    """Raises: RemoteProtocolError `dht_oversized`, `dht_malformed`, `dht_unknown_call` or `dht_arguments`."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise RemoteProtocolError("dht_oversized", f"a datagram of {len(data)} bytes")
    kind, message_id = data[:1], data[1 : 1 + MESSAGE_ID_BYTES]
    if len(message_id) < MESSAGE_ID_BYTES or kind not in (CALL, ANSWER):
        raise RemoteProtocolError("dht_malformed", "not a datagram of the DHT")
    value = unpack(data[1 + MESSAGE_ID_BYTES :], max_bytes=MAX_DATAGRAM_BYTES, code="dht_malformed")
    if kind == ANSWER:
        return IncomingAnswer(message_id=message_id, value=value)
    if not isinstance(value, list) or len(value) != 2:
        raise RemoteProtocolError("dht_malformed", "not a call: want [name, arguments]")
    name, arguments = value
    if not isinstance(name, str) or name not in _TYPE_OF_CALL:
        raise RemoteProtocolError("dht_unknown_call", "a call that nobody answers")
    call = _convert(arguments, _TYPE_OF_CALL[name], code="dht_arguments")
    return IncomingCall(message_id=message_id, call=call)


def decode_answer(value: object, kind: type[AnswerT]) -> AnswerT:
    """Raises: RemoteProtocolError `dht_answer`."""
    return _convert(value, kind, code="dht_answer")


def _convert(value: object, kind: type[CallT], *, code: str) -> CallT:
    try:
        return msgspec.convert(value, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(code, f"{error}") from error
