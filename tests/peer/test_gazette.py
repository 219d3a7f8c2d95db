from __future__ import annotations

import msgpack
import msgspec
import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.ids import PeerId
from marfl_peer.peer.gazette import batches, read_batch
from marfl_peer.protocol.view import MembershipEvent


def test_many_events_travel_in_batches_that_each_fit() -> None:
    events = tuple(
        MembershipEvent(peer_id=PeerId(f"{number:040x}"), incarnation=1, kind="joined", iteration=1, record=b"r" * 4000)
        for number in range(300)
    )
    payloads = batches(events)
    assert all(len(batch) < 256 * 1024 for batch in payloads)
    decoded = [event for batch in payloads for event in msgspec.convert(msgpack.unpackb(batch), list[MembershipEvent])]
    assert decoded == list(events)
    assert [msgpack.unpackb(batch) for batch in batches(())] == [[]]


def test_every_batch_begins_with_what_must_be_known_first() -> None:
    first, *events = (
        MembershipEvent(peer_id=PeerId(f"{number:040x}"), incarnation=1, kind="joined", iteration=1)
        for number in range(500)
    )
    read = [read_batch(memoryview(batch)) for batch in batches([*events, first], [first])]
    assert len(read) == 3
    assert {batch[0] for batch in read} == {first}
    assert [event for batch in read for event in batch[1:]] == events


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgpack.packb({}), msgpack.packb([1])])
def test_bytes_that_are_no_batch_are_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_batch(memoryview(payload))
    assert caught.value.code == "bad_events"
