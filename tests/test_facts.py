from __future__ import annotations

import json
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.facts import AnyFact, Fact, LoopLagged, decode_fact, encode_fact

CLASSES: tuple[type[Fact], ...] = typing.get_args(AnyFact)


def facts_of(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    hints = typing.get_type_hints(kind)
    fields = {
        name: st.floats(allow_nan=False, allow_infinity=False) if hints[name] is float else st.from_type(hints[name])
        for name in kind.__struct_fields__
    }
    return st.builds(kind, **fields)


def is_finite(fact: Fact) -> bool:
    text = json.dumps(msgspec.to_builtins(fact))
    return "NaN" not in text and "Infinity" not in text


@given(st.sampled_from(CLASSES).flatmap(facts_of).filter(is_finite))
def test_fact_survives_its_json_line(fact: Fact) -> None:
    line = encode_fact(fact)
    assert b"\n" not in line
    assert json.loads(line)["fact"] == type(fact).__name__
    assert decode_fact(line) == fact


def test_every_fact_class_is_in_the_union() -> None:
    assert set(CLASSES) == set(Fact.__subclasses__())


def test_fact_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        LoopLagged(seconds=1.0).seconds = 2.0  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("line", [b"", b"{}", b'{"fact":"Nothing"}', b'{"fact":"LoopLagged"}', b"\xff"])
def test_decoding_what_is_no_fact_raises(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_fact(line)


def test_decoding_ignores_the_journal_time() -> None:
    assert decode_fact(b'{"at":12.5,"fact":"LoopLagged","seconds":0.5}') == LoopLagged(seconds=0.5)
