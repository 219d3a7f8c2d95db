"""What a hostile sender makes of its frames."""

from __future__ import annotations

import random
import struct
from typing import get_args

import pytest
import torch

from marfl_peer.averaging.codecs.codec import Codec, chances
from marfl_peer.averaging.codecs.float32 import FLOAT32
from marfl_peer.averaging.codecs.halves import BFLOAT16, FLOAT16
from marfl_peer.averaging.codecs.quantised import INT4, INT8
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.lab.simulator.faults.plan import Lie
from marfl_peer.lab.simulator.faults.tampering import Tamperer
from marfl_peer.protocol.frames import FrameDecoder, frame_head
from marfl_peer.protocol.messages import AnyMessage, Ballot, ChunkDigest, Hello, LineName, Part, Ready, decode, encode

NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="a" * 40)
READY = Ready(name=NAME, ballot=BALLOT)
PART = Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0)
VALUES = struct.pack("<3f", 1.0, 2.0, 3.0)
DIGEST = ChunkDigest(
    name=NAME, ballot=BALLOT, start=0, stop=12, digest=b"d" * 32, signature=b"s" * 64, public_key=b"k" * 32
)
HELLO = Hello(
    version=1,
    role="peer",
    run_id="r",
    public_key=b"k" * 32,
    incarnation=1,
    nonce=b"n" * 16,
    settings_digest="",
    schema_digest="",
    host="h",
    port=1,
)


def _frame(message: AnyMessage, payload: bytes = b"") -> bytes:
    return frame_head(encode(message), len(payload)) + payload


def _tamperer(lie: Lie, *, share: float = 1.0, seed: int = 1) -> Tamperer:
    return Tamperer(lie, share=share, rng=random.Random(seed))


def _read(stream: bytes) -> list[tuple[AnyMessage, bytes]]:
    """As a peer reads it. Raises: RemoteProtocolError."""
    decoder = FrameDecoder[AnyMessage](decode, lambda _, length: memoryview(bytearray(length)))
    frames = []
    while stream:
        room = decoder.get_buffer()
        taken = min(len(room), len(stream))
        room[:taken] = stream[:taken]
        stream = stream[taken:]
        frames += [(message, bytes(payload)) for message, payload in decoder.received(taken)]
    return frames


@pytest.mark.parametrize(("lie", "value"), [("nan", float("nan")), ("inf", float("inf"))])
def test_values_that_are_not_finite_are_put_into_tensors_only(lie: Lie, value: float) -> None:
    tamperer = _tamperer(lie)
    [sent] = tamperer(PART, _frame(PART, VALUES))
    [(message, payload)] = _read(sent)
    assert message == PART
    assert repr(struct.unpack("<3f", payload)) == repr((value, 2.0, 3.0))
    assert tamperer(READY, _frame(READY)) == [_frame(READY)]
    assert tamperer.count == 1


@pytest.mark.parametrize("lie", ["nan", "inf"])
@pytest.mark.parametrize("codec", [FLOAT32, FLOAT16, BFLOAT16, INT8, INT4], ids=lambda codec: codec.name)
@pytest.mark.parametrize("count", [1, 3, 200])
def test_encoded_values_are_not_finite_for_whoever_decodes_them(lie: Lie, codec: Codec, count: int) -> None:
    data = torch.empty(codec.encoded_bytes(count), dtype=torch.uint8)
    codec.encode(torch.ones(count), data, chances(1, count))
    tamperer = Tamperer(lie, share=1.0, rng=random.Random(1), is_coded=True)
    [sent] = tamperer(PART, _frame(PART, bytes(data.tolist())))
    [(_, payload)] = _read(sent)
    values = torch.empty(count)
    codec.decode(torch.frombuffer(bytearray(payload), dtype=torch.uint8), values)
    assert not torch.isfinite(values).all()


@pytest.mark.parametrize("lie", ["garbage", "oversized", "malformed"])
@pytest.mark.parametrize("seed", range(12))
def test_frames_that_are_none_are_refused_by_whoever_reads_them(lie: Lie, seed: int) -> None:
    tamperer = _tamperer(lie, seed=seed)
    [sent] = tamperer(PART, _frame(PART, VALUES))
    with pytest.raises(RemoteProtocolError):
        _read(sent)


def test_wrong_digest_is_a_proper_message() -> None:
    [sent] = _tamperer("wrong_digest")(DIGEST, _frame(DIGEST))
    [(message, _)] = _read(sent)
    assert isinstance(message, ChunkDigest)
    assert message.digest != DIGEST.digest
    assert message.signature == DIGEST.signature


def test_duplicate_and_replay_send_what_was_sent_before() -> None:
    ready, part = _frame(READY), _frame(PART, VALUES)
    assert _tamperer("duplicate")(READY, ready) == [ready, ready]
    replay = _tamperer("replay")
    assert replay(READY, ready) == [ready]
    assert replay(PART, part) == [part, ready]


@pytest.mark.parametrize("lie", get_args(Lie))
def test_handshake_is_left_alone(lie: Lie) -> None:
    assert _tamperer(lie)(HELLO, _frame(HELLO)) == [_frame(HELLO)]


def test_only_a_share_of_frames_is_rewritten() -> None:
    tamperer = _tamperer("duplicate", share=0.3)
    lengths = [len(tamperer(READY, _frame(READY))) for _ in range(1000)]
    assert lengths.count(2) == tamperer.count
    assert 250 < tamperer.count < 350
