from __future__ import annotations

import dataclasses
import typing

import pytest

from marfl_peer.protocol import instructions
from marfl_peer.protocol.instructions import ExchangeInstruction, Instruction, Reduce

UNION = (*typing.get_args(Instruction), *typing.get_args(ExchangeInstruction))


def test_every_class_of_the_module_is_in_one_union() -> None:
    classes = [one for one in vars(instructions).values() if dataclasses.is_dataclass(one)]
    assert {one for one in classes if one.__module__ == instructions.__name__} == set(UNION)


@pytest.mark.parametrize("kind", UNION, ids=lambda kind: str(kind.__name__))
def test_instruction_takes_names_only_and_does_not_change(kind: type) -> None:
    params = kind.__dataclass_params__  # type: ignore[attr-defined]
    assert params.frozen
    assert all(one.kw_only for one in dataclasses.fields(kind))
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)


def test_equal_instructions_are_equal() -> None:
    assert Reduce(start=1, stop=2) == Reduce(start=1, stop=2) != Reduce(start=1, stop=3)
