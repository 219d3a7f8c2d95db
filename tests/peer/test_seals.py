"""A result is worth what its owners signed: every byte, by members, for this very ballot."""

from __future__ import annotations

import msgspec
import pytest

from marfl_peer.averaging.digest import digest_of
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.network.identity import Identity
from marfl_peer.peer.seals import Sealer
from marfl_peer.protocol.exchange import Span, equal_spans
from marfl_peer.protocol.messages import Ballot, ChunkDigest, LineName

NAME = LineName(iteration=3, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
LENGTH = 10
VECTOR = bytes(range(4 * LENGTH))
OWNERS = [Identity.ephemeral() for _ in range(3)]
SPANS = equal_spans(LENGTH, 3)


def seals(run_id: str = "run") -> list[ChunkDigest]:
    return [
        Sealer(owner, run_id).seal(NAME, BALLOT, span, digest_of(VECTOR[4 * span.start : 4 * span.stop]))
        for owner, span in zip(OWNERS, SPANS, strict=True)
    ]


def check(chunks, *, name=NAME, ballot=BALLOT, members=None, vector=VECTOR) -> None:
    known = [owner.peer_id for owner in OWNERS] if members is None else members
    Sealer(Identity.ephemeral(), "run").check(
        chunks,
        name=name,
        ballot=ballot,
        members=known,
        length=LENGTH,
        vector=memoryview(vector),
        value_bytes=4,
    )


def test_seals_of_all_owners_hold_in_any_order() -> None:
    check(seals())
    check(reversed(seals()))


def test_one_seal_of_the_whole_vector_holds() -> None:
    whole = Sealer(OWNERS[0], "run").seal(NAME, BALLOT, Span(0, LENGTH), digest_of(VECTOR))
    check([whole])


def test_a_changed_byte_is_found() -> None:
    for index in (0, 17, len(VECTOR) - 1):
        changed = bytearray(VECTOR)
        changed[index] ^= 1
        with pytest.raises(RemoteProtocolError, match="not what its owner signed"):
            check(seals(), vector=bytes(changed))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_chunk_without_a_seal_is_found(missing: int) -> None:
    chunks = seals()
    del chunks[missing]
    with pytest.raises(RemoteProtocolError) as caught:
        check(chunks)
    assert caught.value.code == "bad_seal"


def test_no_seal_at_all_is_found() -> None:
    with pytest.raises(RemoteProtocolError, match="cover 0 of 10"):
        check([])


def test_seal_of_somebody_who_is_no_member_does_not_count() -> None:
    with pytest.raises(RemoteProtocolError, match="no member's seal"):
        check(seals(), members=[owner.peer_id for owner in OWNERS[:2]])


@pytest.mark.parametrize(
    ("name", "ballot"),
    [
        (LineName(iteration=4, round=1, line=0), BALLOT),
        (LineName(iteration=3, round=2, line=0), BALLOT),
        (LineName(iteration=3, round=1, line=1), BALLOT),
        (NAME, Ballot(attempt=2, leader="a" * 40)),
        (NAME, Ballot(attempt=1, leader="b" * 40)),
    ],
)
def test_seal_of_another_exchange_does_not_count(name: LineName, ballot: Ballot) -> None:
    with pytest.raises(RemoteProtocolError, match="signature is wrong"):
        check(seals(), name=name, ballot=ballot)


def test_seal_of_another_run_does_not_count() -> None:
    with pytest.raises(RemoteProtocolError, match="signature is wrong"):
        check(seals(run_id="another"))


def test_seal_with_another_members_key_does_not_count() -> None:
    chunks = seals()
    chunks[0] = msgspec.structs.replace(chunks[0], public_key=OWNERS[1].public_key)
    with pytest.raises(RemoteProtocolError, match="signature is wrong"):
        check(chunks)


def test_overlapping_seals_do_not_count() -> None:
    whole = Sealer(OWNERS[0], "run").seal(NAME, BALLOT, Span(0, LENGTH), digest_of(VECTOR))
    with pytest.raises(RemoteProtocolError):
        check([whole, seals()[1]])
