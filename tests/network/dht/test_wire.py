import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.network.dht import wire

ID, OTHER, MESSAGE = b"i" * 20, b"o" * 20, b"m" * 20
ADDRESS = wire.NodeAddress(OTHER, "127.0.0.1", 7700)
CALLS = [
    wire.Ping(ID),
    wire.FindNode(ID, OTHER),
    wire.FindRecords(ID, OTHER, ""),
    wire.FindRecords(ID, OTHER, "a" * 40),
    wire.Store(ID, OTHER, [b"x", b"y"]),
]
ANSWERS = [wire.Pong(ID), wire.FoundNodes([ADDRESS]), wire.FoundRecords([b"r"], "", [ADDRESS]), wire.Stored(3)]


def raw_call(name, arguments):
    return b"\x00" + MESSAGE + msgpack.packb([name, arguments])


@pytest.mark.parametrize("call", CALLS)
def test_call_round_trip(call):
    assert wire.decode(wire.encode_call(MESSAGE, call)) == wire.IncomingCall(message_id=MESSAGE, call=call)


@pytest.mark.parametrize("answer", ANSWERS)
def test_answer_round_trip(answer):
    incoming = wire.decode(wire.encode_answer(MESSAGE, answer))
    assert isinstance(incoming, wire.IncomingAnswer)
    assert wire.decode_answer(incoming.value, type(answer)) == answer


def test_call_has_the_envelope_of_rpcudp():
    data = wire.encode_call(MESSAGE, wire.Ping(ID))
    assert (data[:1], data[1:21], msgpack.unpackb(data[21:])) == (b"\x00", MESSAGE, ["ping", [ID]])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "dht_malformed"),
        (b"\x00" + bytes(19), "dht_malformed"),
        (b"\x00" + MESSAGE, "dht_malformed"),
        (b"\x02" + MESSAGE + b"\xc0", "dht_malformed"),
        (b"\x01" + MESSAGE + b"\xdd\xff\xff\xff\xff", "dht_malformed"),
        (b"\x00" + MESSAGE + b"\xc0", "dht_malformed"),
        (raw_call("ping", [ID])[:-1], "dht_malformed"),
        (bytes(wire.MAX_DATAGRAM_BYTES + 1), "dht_oversized"),
        (raw_call("stun", []), "dht_unknown_call"),
        (raw_call(["ping"], []), "dht_unknown_call"),
        (raw_call("__init__", []), "dht_unknown_call"),
        (raw_call("ping", []), "dht_arguments"),
        (raw_call("ping", [ID, ID]), "dht_arguments"),
        (raw_call("ping", [ID[1:]]), "dht_arguments"),
        (raw_call("ping", ["i" * 20]), "dht_arguments"),
        (raw_call("ping", {"sender": ID}), "dht_arguments"),
        (raw_call("find_value", [ID, OTHER, "a" * 39]), "dht_arguments"),
        (raw_call("store", [ID, OTHER, []]), "dht_arguments"),
        (raw_call("store", [ID, OTHER, [b""]]), "dht_arguments"),
        (raw_call("store", [ID, OTHER, [b"x"] * (wire.MAX_STORED_RECORDS + 1)]), "dht_arguments"),
        (raw_call("store", [ID, OTHER, [bytes(4097)]]), "dht_arguments"),
    ],
)
def test_decode_bad_datagram(data, code):
    with pytest.raises(RemoteProtocolError) as caught:
        wire.decode(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, wire.Pong),
        ([b"short"], wire.Pong),
        ([[[OTHER, "h", 0]]], wire.FoundNodes),
        ([[[OTHER, "h" * 65, 1]]], wire.FoundNodes),
        ([[[OTHER, "h", 1]] * (wire.MAX_NODES + 1)], wire.FoundNodes),
        ([[], True, []], wire.FoundRecords),
        ([[], "../", []], wire.FoundRecords),
        (["x"], wire.Stored),
    ],
)
def test_decode_bad_answer(value, kind):
    with pytest.raises(RemoteProtocolError) as caught:
        wire.decode_answer(value, kind)
    assert caught.value.code == "dht_answer"


@given(kind=st.sampled_from([b"\x00", b"\x01", b""]), rest=st.binary(max_size=200))
def test_decode_random_bytes(kind, rest):
    with contextlib.suppress(RemoteProtocolError):  # any other exception is a fault
        wire.decode(kind + rest)


def test_records_budget_leaves_room_for_the_rest():
    nodes = [wire.NodeAddress(ID, "2001:0db8:85a3:0000:0000:8a2e:0370:7334", 65535)] * wire.MAX_NODES
    rest = len(wire.encode_answer(MESSAGE, wire.FoundRecords([], "a" * 40, nodes)))
    assert rest + wire.RECORDS_BUDGET_BYTES <= wire.MAX_DATAGRAM_BYTES
