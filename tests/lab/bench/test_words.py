import msgspec
import pytest

from marfl_peer.lab.bench.words import (
    Answer,
    Arm,
    Done,
    Ended,
    Entered,
    GlooRole,
    Go,
    Hello,
    HivemindRole,
    Order,
    PeerRole,
    Ready,
    decode_answer,
    decode_order,
    encode,
)


@pytest.mark.parametrize(
    "order",
    [
        PeerRole(rank=1, ranks=4, floats=8, base="b", namespace="n", is_watched=True),
        GlooRole(rank=1, ranks=2, floats=8, store="s", lines=(((0, 1),),), is_exact=True),
        HivemindRole(rank=0, ranks=2, floats=8, group_size=2, rounds=1, contacts=("a",)),
        Arm(what="flat", checked=True),
        Go(),
    ],
)
def test_order_is_one_line_and_read_back(order: Order) -> None:
    line = encode(order)
    assert line.count(b"\n") == 1
    assert decode_order(line) == order


@pytest.mark.parametrize(
    "answer",
    [Hello(index=3), Entered(contacts=("a",)), Ready(), Ended(), Done(began=1.0, ended=2.0, bytes_sent={"dht": 3})],
)
def test_answer_is_read_back(answer: Answer) -> None:
    assert decode_answer(encode(answer)) == answer


def test_anything_else_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_order(b'{"type":"Done","began":1,"ended":2}\n')
