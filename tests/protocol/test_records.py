import math
import random

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from marfl_peer.errors import LocalProtocolError, RemoteProtocolError
from marfl_peer.ids import dht_key, peer_id_of
from marfl_peer.protocol import records
from marfl_peer.protocol.records import GroupBody, MemberBody, RunBody

KEY = dht_key("members", 3)
NOW = 1_700_000_000
MEMBER = MemberBody(host="192.168.100.200", port=65000, weight=60_000, shard=12, shards=125, version=1)
GROUP = GroupBody(host="10.0.0.1", port=7700, cell=17, iteration=3)
RUN = RunBody(
    settings={"task": "mnist", "group_size": 4, "lr": 0.1, "overlap": False, "target": None},
    schema_digest="ab" * 20,
    founder="0" * 40,
)


def private(number):
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def make(number=1, *, key=KEY, incarnation=1, sequence=1, body=None, expires_at=NOW + 600, view_digest=b""):
    body = records.encode_body(MEMBER) if body is None else body
    return records.sign_record(
        private(number),
        key=key,
        incarnation=incarnation,
        sequence=sequence,
        body=body,
        expires_at=expires_at,
        view_digest=view_digest,
    )


def code_of(call, *arguments, **named):
    with pytest.raises(RemoteProtocolError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_record_round_trip():
    record = make(view_digest=b"d" * 20)
    again = records.decode(records.encode(record))
    assert again == record
    records.verify(again, key=KEY, now_wall=NOW)
    assert again.peer_id == peer_id_of(private(1).public_key().public_bytes_raw())


def test_record_more_than_twenty_fit_in_a_datagram():
    encoded = [
        records.encode(make(number, view_digest=b"d" * 20, incarnation=70_000, sequence=70_000))
        for number in range(1, 25)
    ]
    assert len(msgpack.packb(encoded)) < 8192


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("incarnation", 2),
        ("sequence", 2),
        ("view_digest", b"x"),
        ("expires_at", NOW + 601),
        ("body", b"\x90"),
        ("signature", bytes(64)),
    ],
)
def test_verify_changed_field(field, value):
    forged = msgspec.structs.replace(make(), **{field: value})
    assert code_of(records.verify, forged, key=KEY, now_wall=NOW) == "record_signature"


def test_verify_record_moved_to_another_key():
    other = dht_key("members", 4)
    assert code_of(records.verify, make(), key=other, now_wall=NOW) == "record_key"
    moved = msgspec.structs.replace(make(), key=other)
    assert code_of(records.verify, moved, key=other, now_wall=NOW) == "record_signature"


def test_verify_peer_id_of_somebody_else():
    forged = msgspec.structs.replace(make(), peer_id=make(2).peer_id)
    assert code_of(records.verify, forged, key=KEY, now_wall=NOW) == "record_peer_id"


def test_verify_expiry():
    record = make(expires_at=NOW + 10)
    records.verify(record, key=KEY, now_wall=NOW + 9.9)
    assert code_of(records.verify, record, key=KEY, now_wall=NOW + 10) == "record_expired"
    far = make(expires_at=NOW + records.MAX_LIFETIME_S + 1)
    assert code_of(records.verify, far, key=KEY, now_wall=NOW) == "record_lifetime"
    records.verify(far, key=KEY, now_wall=NOW + 1)


@given(data=st.binary(max_size=300))
def test_decode_random_bytes(data):
    assert code_of(records.decode, data) == "record_malformed"
    assert code_of(records.decode_body, data) == "record_body"


@given(place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
@settings(max_examples=150)
def test_decode_damaged_record(place, value, cut):
    data = bytearray(records.encode(make()))
    data[place % len(data)] = value
    data = bytes(data[: len(data) - cut % 3])
    if data == records.encode(make()):
        return
    try:
        records.verify(records.decode(data), key=KEY, now_wall=NOW)
    except RemoteProtocolError:
        return
    pytest.fail("a damaged record was believed")


def test_decode_lengths_that_are_lies():
    for header in (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 4000):
        assert code_of(records.decode, header) == "record_malformed"


def test_decode_oversized():
    assert code_of(records.decode, bytes(records.MAX_RECORD_BYTES + 1)) == "record_oversized"


def test_decode_second_encoding_of_a_record():
    fields = msgpack.unpackb(records.encode(make()))
    assert records.decode(msgpack.packb(fields)) == make()
    longer = b"\xdc\x00\x09" + b"".join(msgpack.packb(field) for field in fields)  # array16 where fixarray does
    assert msgpack.unpackb(longer) == fields
    assert code_of(records.decode, longer) == "record_malformed"


@pytest.mark.parametrize(
    ("index", "value"),
    [(0, b"short"), (1, "F" * 40), (1, "0" * 39 + "\n"), (2, bytes(31)), (3, -1), (3, True), (4, 2**54), (4, 1.0),
     (5, bytes(33)), (6, "x"), (7, bytes(records.MAX_BODY_BYTES + 1)), (8, bytes(65)), (8, "A" * 88)],
)  # fmt: skip
def test_decode_field_out_of_range(index, value):
    fields = msgpack.unpackb(records.encode(make()))
    fields[index] = value
    assert code_of(records.decode, msgpack.packb(fields)) in ("record_malformed", "record_oversized")
    fields = msgpack.unpackb(records.encode(make()))
    assert code_of(records.decode, msgpack.packb([*fields, 1])) == "record_malformed"


@pytest.mark.parametrize("body", [MEMBER, GROUP, RUN, msgspec.structs.replace(MEMBER, shard=None)])
def test_body_round_trip(body):
    assert records.decode_body(records.encode_body(body)) == body


@pytest.mark.parametrize(
    "body",
    [
        msgspec.structs.replace(MEMBER, host=""),
        msgspec.structs.replace(MEMBER, host="h" * 256),
        msgspec.structs.replace(MEMBER, host="a\nb"),
        msgspec.structs.replace(MEMBER, port=-1),
        msgspec.structs.replace(MEMBER, port=65536),
        msgspec.structs.replace(MEMBER, weight=-1),
        msgspec.structs.replace(MEMBER, weight=2**31 + 1),
        msgspec.structs.replace(MEMBER, version=65536),
        msgspec.structs.replace(GROUP, cell=-1),
        msgspec.structs.replace(GROUP, iteration=2**31 + 1),
        msgspec.structs.replace(RUN, settings={f"s{number}": 1 for number in range(65)}),
        msgspec.structs.replace(RUN, settings={"n" * 65: 1}),
        msgspec.structs.replace(RUN, settings={"task": "x" * records.MAX_BODY_BYTES}),
        msgspec.structs.replace(RUN, founder="nobody"),
        msgspec.structs.replace(RUN, schema_digest="<>"),
    ],
)  # fmt: skip
def test_body_out_of_range(body):
    assert code_of(records.decode_body, msgspec.msgpack.encode(body)) == "record_body"
    with pytest.raises(LocalProtocolError):
        records.encode_body(body)


def test_body_shard_beyond_shards():
    raw = msgpack.packb([1, "h", 1, 1, 16, 16, 1])
    assert code_of(records.decode_body, raw) == "record_body"


@pytest.mark.parametrize("value", [math.nan, math.inf, [1], {"a": 1}, b"x"])
def test_body_setting_that_is_no_scalar(value):
    raw = msgpack.packb([3, {"lr": value}, "", "0" * 40])
    assert code_of(records.decode_body, raw) == "record_body"


def test_body_of_a_tombstone():
    assert make(body=b"").is_tombstone
    assert code_of(records.decode_body, b"") == "record_body"


def test_sign_record_out_of_range():
    with pytest.raises(LocalProtocolError):
        make(sequence=-1)
    with pytest.raises(LocalProtocolError):
        make(view_digest=bytes(33))


POOL = [
    make(number, incarnation=incarnation, sequence=sequence, body=body)
    for number in (1, 2, 3)
    for incarnation in (1, 2)
    for sequence in (1, 2)
    for body in (None, b"")
]


@given(one=st.lists(st.sampled_from(POOL)), other=st.lists(st.sampled_from(POOL)), seed=st.integers(0, 2**16))
def test_merge_order_and_repetition_do_not_matter(one, other, seed):
    merged = records.merge(one + other)
    mixed = one + other + one
    random.Random(seed).shuffle(mixed)
    assert records.merge(mixed) == merged
    assert [record.peer_id for record in merged] == sorted({record.peer_id for record in merged})
    for record in merged:
        assert not record.is_tombstone
        assert all(other.order <= record.order for other in mixed if other.peer_id == record.peer_id)


def test_merge_later_word_counts():
    old, new, reborn = make(sequence=1), make(sequence=2), make(incarnation=2, sequence=1)
    assert records.merge([new, old]) == [new]
    assert records.merge([new, reborn, old]) == [reborn]


def test_merge_tombstone_withdraws_until_a_later_word():
    stated, withdrawn, again = make(sequence=1), make(sequence=2, body=b""), make(sequence=3)
    assert records.merge([withdrawn, stated]) == []
    assert records.merge([withdrawn, again, stated]) == [again]


def test_merge_is_bounded():
    one = make()
    many = [msgspec.structs.replace(one, peer_id=f"{number:040x}") for number in range(records.MAX_RECORDS_A_KEY + 9)]
    assert records.merge(reversed(many)) == many[: records.MAX_RECORDS_A_KEY]


def test_member_without_a_port_is_one_that_nobody_dials() -> None:
    body = MemberBody(host="0.0.0.0", port=0, weight=0, shard=None, shards=1, version=1)
    known = records.decode_body(records.encode_body(body))
    assert isinstance(known, MemberBody)
    assert known.address is None
    assert msgspec.structs.replace(body, port=7700).address == ("0.0.0.0", 7700)
