"""Membership events as bytes: batches that each fit in a frame, and back. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol.view import MembershipEvent

EVENTS_A_MESSAGE = 200
"""With records of at most 1 KiB these fit in one frame; larger ones are split by size."""
_MAX_PAYLOAD = 200 * 1024


def batches(events: Sequence[MembershipEvent], first: Sequence[MembershipEvent] = ()) -> list[bytes]:
    """Events as payloads that each fit in a frame, and each begin with `first`."""
    head = [_plain(event) for event in first]
    payloads: list[bytes] = []
    batch = [*head]
    size = 0
    for event in events:
        if event in first:
            continue
        cost = len(event.record) + 128
        if batch and (size + cost > _MAX_PAYLOAD or len(batch) >= EVENTS_A_MESSAGE):
            payloads.append(bytes(msgpack.packb(batch)))
            batch, size = [*head], 0
        batch.append(_plain(event))
        size += cost
    return [*payloads, bytes(msgpack.packb(batch))]


def read_batch(payload: memoryview) -> list[MembershipEvent]:
    """Raises: RemoteProtocolError `bad_events` for anything but a batch of events."""
    try:
        plain = msgpack.unpackb(payload, max_bin_len=8192, max_str_len=128, max_array_len=4096, max_map_len=0)
        return msgspec.convert(plain, list[MembershipEvent])
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError) as error:
        raise RemoteProtocolError("bad_events", f"not membership events: {error}") from None


def _plain(event: MembershipEvent) -> object:
    return msgspec.to_builtins(event, builtin_types=(bytes,))
