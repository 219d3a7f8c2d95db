from __future__ import annotations

import typing
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.protocol import messages
from marfl_peer.protocol.frames import MAX_HEADER_BYTES
from marfl_peer.protocol.messages import (
    DIGEST_BYTES,
    MAX_MEMBERS,
    AnyMessage,
    Ballot,
    ChunkDigest,
    Here,
    LineName,
    Member,
    Message,
    Propose,
    ResultOffer,
    Seat,
    decode,
    encode,
)

NAME = LineName(iteration=3, round=2, line=5)
BALLOT = Ballot(attempt=1, leader="a" * 40)
CLASSES: tuple[type[Message], ...] = typing.get_args(AnyMessage)

small = st.integers(0, 2**31)
count = st.integers(0, 2**62)
ids = st.text("0123456789abcdef", min_size=40, max_size=40)
digests = st.text("0123456789abcdef", max_size=64)
texts = st.text(max_size=500)
scalars = st.lists(st.floats(allow_nan=False), max_size=16).map(tuple)
maxima = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20).map(tuple)
names = st.builds(LineName, iteration=count, round=small, line=small)
ballots = st.builds(Ballot, attempt=small, leader=ids)
seats = st.builds(Seat, cell=small, weight=count, sums=scalars, maxima=maxima)
held = st.lists(seats, min_size=1, max_size=3).map(tuple)
members = st.builds(Member, peer_id=ids, seats=held, update_s=st.floats(allow_nan=False))


def binary(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "accepted": st.booleans(),
    "answer_wanted": st.booleans(),
    "at_least": count,
    "until": count,
    "ballot": ballots,
    "cell": small,
    "code": texts,
    "completed": ballots,
    "detail": texts,
    "base": digests,
    "first_iteration": count,
    "full_in": st.lists(count, max_size=4).map(tuple),
    "group": st.lists(ids, max_size=5).map(tuple),
    "late": st.lists(ids, max_size=5).map(tuple),
    "holders": st.lists(ids, max_size=5).map(tuple),
    "host": texts,
    "incarnation": count,
    "iteration": count,
    "since": count,
    "maxima": maxima,
    "name": names,
    "nonce": binary(16),
    "offset": count,
    "peer_id": ids,
    "port": st.integers(0, 65535),
    "promised": ballots,
    "public_key": binary(32),
    "reason": texts,
    "role": st.sampled_from(["peer", "observer"]),
    "run_id": texts,
    "shares": st.lists(st.integers(0, messages.WHOLE), max_size=5).map(tuple),
    "slowest": st.integers(0, messages.MAX_SPEED),
    "speed": st.integers(0, messages.MAX_SPEED),
    "schema_digest": digests,
    "seats": held,
    "settings_digest": digests,
    "signature": binary(64),
    "sources": st.lists(ids, min_size=1, max_size=5).map(tuple),
    "stage": st.sampled_from(["scatter", "gather"]),
    "start": count,
    "state_digest": digests,
    "stop": count,
    "sums": scalars,
    "update_s": st.floats(allow_nan=False),
    "every_s": st.floats(0, messages.MAX_HEARTBEAT_S),
    "waited_s": st.floats(min_value=0.0, max_value=2.0**31),
    "vector_bytes": count,
    "version": small,
    "view_digest": digests,
    "weight": count,
}
chunks = st.builds(
    messages.ChunkDigest,
    name=names,
    ballot=ballots,
    start=count,
    stop=count,
    digest=binary(32),
    signature=binary(64),
    public_key=binary(32),
)


def strategy_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of a class. A field without a strategy of its own fails here: none is left out."""
    fields = {name: FIELDS.get(name) for name in kind.__struct_fields__}
    if "members" in fields:
        fields["members"] = (
            st.lists(ids, max_size=5).map(tuple)
            if kind is messages.ResultOffer
            else st.lists(members, min_size=1, max_size=3).map(tuple)
        )
    if "chunks" in fields:
        fields["chunks"] = st.lists(chunks, max_size=2).map(tuple)
    if "digest" in fields:
        fields["digest"] = binary(32) if kind is messages.ChunkDigest else digests
    missing = [name for name, strategy in fields.items() if strategy is None]
    assert not missing, f"{kind.__name__} has new fields: {missing}"
    return st.builds(kind, **{name: strategy for name, strategy in fields.items() if strategy is not None})


@given(st.sampled_from(CLASSES).flatmap(strategy_of))
def test_message_comes_back_as_it_was(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.sampled_from(CLASSES).flatmap(strategy_of))
def test_every_class_is_small_enough_for_a_header(message: Message) -> None:
    assert len(encode(message)) <= MAX_HEADER_BYTES


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_message_begins_with_its_tag_and_no_other_class_has_it(kind: type[Message]) -> None:
    tags = [one.__struct_config__.tag for one in CLASSES]
    assert tags.count(kind.__struct_config__.tag) == 1
    assert tags[CLASSES.index(kind)] == (
        {"Part": "p", "ResultPart": "r", "ModelPart": "m"}.get(kind.__name__, kind.__name__)
    )


@given(st.sampled_from(CLASSES).flatmap(strategy_of), st.data())
def test_message_with_a_field_of_another_type_is_a_remote_error(message: Message, data: st.DataObject) -> None:
    plain = list(msgspec.to_builtins(message, builtin_types=(bytes,)))
    junk = data.draw(st.sampled_from([-1, 2**63, [[[]]], b"x" * 9000, "g" * 700, 1.5j]))
    if len(plain) == 1 or isinstance(junk, complex):
        plain = [plain[0].lower() + "?", *plain[1:]]
    else:
        plain[data.draw(st.integers(1, len(plain) - 1))] = junk
    header = msgpack.packb(plain)
    try:
        decode(header)
    except RemoteProtocolError as error:
        assert error.code == "bad_message"
    else:
        # The only field that takes a negative number is one of seconds.
        assert isinstance(message, Here)
        assert junk in (-1, 2**63)


@pytest.mark.parametrize(
    "changes",
    [
        {"shares": (messages.WHOLE + 1,)},
        {"shares": (-1, 1001)},
        {"shares": (1,) * (MAX_MEMBERS + 1)},
        {"slowest": messages.MAX_SPEED + 1},
        {"slowest": -1},
    ],
)
def test_speeds_and_shares_are_bounded(changes: dict[str, Any]) -> None:
    member = Member(peer_id="a" * 40, seats=(Seat(cell=1, weight=1, sums=(), maxima=()),), update_s=0.0)
    proposal = Propose(name=NAME, ballot=BALLOT, view_digest="", members=(member,))
    assert decode(encode(proposal)) == proposal
    with pytest.raises(RemoteProtocolError):
        decode(encode(msgspec.structs.replace(proposal, **changes)))


nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.binary(max_size=300) | nested.map(msgpack.packb))
def test_junk_is_a_remote_error(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(header)
    assert caught.value.code == "bad_message"


@given(st.sampled_from(CLASSES), nested)
def test_known_tag_before_junk_is_a_remote_error_or_a_message(kind: type[Message], junk: object) -> None:
    fields = junk if isinstance(junk, list) else [junk]
    try:
        message = decode(msgpack.packb([kind.__struct_config__.tag, *fields]))
    except RemoteProtocolError as error:
        assert error.code == "bad_message"
    else:
        assert isinstance(message, kind)


@given(st.sampled_from(CLASSES).flatmap(strategy_of), st.data())
def test_truncated_message_is_a_remote_error(message: Message, data: st.DataObject) -> None:
    header = encode(message)
    with pytest.raises(RemoteProtocolError):
        decode(header[: data.draw(st.integers(0, len(header) - 1))])


def test_deeply_nested_junk_is_a_remote_error() -> None:
    with pytest.raises(RemoteProtocolError):
        decode(b"\x91" * 5000 + b"\xc0")


@pytest.mark.parametrize(
    "header",
    [
        msgpack.packb(["Nonsense"]),
        msgpack.packb([]),
        msgpack.packb({"a": 1}),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        msgpack.packb(msgpack.Timestamp(1)),
        b"\xd6\xff\x00",
        msgpack.packb(["Take", [3, 2, 5], [1, "a" * 40], []]),
        msgpack.packb(["Done", [3, 2, 5], [1, "A" * 40]]),
        msgpack.packb(["Done", [3, 2, 5], [1, "a" * 41]]),
        msgpack.packb(["Done", [3, 2, 5], [1, "a" * 39]]),
        msgpack.packb(["Done", [3, -2, 5], [1, "a" * 40]]),
        encode(messages.Heartbeat()) + b"\x00",
    ],
)
def test_message_that_breaks_a_bound_is_a_remote_error(header: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(header)


def test_too_many_members_are_a_remote_error() -> None:
    member = Member(peer_id="b" * 40, seats=(Seat(cell=0, weight=1, sums=(), maxima=()),), update_s=0.0)
    most = Propose(name=NAME, ballot=BALLOT, view_digest="", members=(member,) * MAX_MEMBERS)
    assert decode(encode(most)) == most
    one_more = Propose(name=NAME, ballot=BALLOT, view_digest="", members=(member,) * (MAX_MEMBERS + 1))
    with pytest.raises(RemoteProtocolError):
        decode(encode(one_more))


def test_what_is_said_of_the_largest_group_fits_into_a_frame() -> None:
    """With the counters of 50 layers, and a seal for every member."""
    name = LineName(iteration=10**6, round=9, line=2**31, view_mark="f" * 16)
    sums, maxima = (1.5,) * 8, (10**6,) * 50
    seat = Seat(cell=2**31, weight=2**62, sums=sums, maxima=maxima)
    member = Member(peer_id="b" * 40, seats=(seat,), update_s=1.5)
    proposal = Propose(name=name, ballot=BALLOT, view_digest="c" * 40, members=(member,) * MAX_MEMBERS)
    seal = ChunkDigest(
        name=name,
        ballot=BALLOT,
        start=2**40,
        stop=2**40,
        digest=bytes(DIGEST_BYTES),
        signature=bytes(64),
        public_key=bytes(32),
    )
    offer = ResultOffer(
        name=name,
        ballot=BALLOT,
        weight=2**62,
        sums=sums,
        maxima=maxima,
        members=("b" * 40,) * MAX_MEMBERS,
        chunks=(seal,) * MAX_MEMBERS,
    )
    for message in (proposal, offer):
        assert len(encode(message)) <= MAX_HEADER_BYTES
        assert decode(encode(message)) == message


def test_ballots_are_ordered_by_attempt_then_leader() -> None:
    low, high = "1" * 40, "2" * 40
    ordered = [Ballot(attempt=1, leader=high), Ballot(attempt=2, leader=low), Ballot(attempt=2, leader=high)]
    assert sorted([ordered[2], ordered[0], ordered[1]]) == ordered


@pytest.mark.parametrize("waited_s", [-1.0, float("inf"), float("nan")])
def test_waiting_that_cannot_be_is_refused(waited_s: float) -> None:
    seat = Seat(cell=1, weight=1, sums=(), maxima=())
    here = messages.Here(name=NAME, view_digest="", seats=(seat,), update_s=0.0, promised=None, waited_s=waited_s)
    with pytest.raises(RemoteProtocolError):
        decode(encode(here))
