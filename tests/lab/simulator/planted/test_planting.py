from __future__ import annotations

import pytest

from marfl_peer.lab.simulator.planted.planting import Patch, Planted, swapped


class Product:
    size = 3

    @staticmethod
    def double(value: int) -> int:
        return 2 * value


BUG = Planted(
    name="doubles too much",
    description="it is one more",
    breaks=("I2",),
    patches=(
        Patch(owner=Product, name="double", make=lambda before: staticmethod(lambda value: before(value) + 1)),
        Patch(owner=Product, name="size", make=lambda before: before + 1),
    ),
)


def test_planted_bug_is_there_and_gone_again() -> None:
    with BUG.planted():
        assert (Product.double(4), Product.size) == (9, 4)
    assert (Product.double(4), Product.size) == (8, 3)


def test_planted_bug_is_taken_back_after_an_exception() -> None:
    with pytest.raises(ValueError, match="out"), BUG.planted():
        raise ValueError("out")
    assert Product.double(4) == 8


def test_swapped_gives_back_what_was_there() -> None:
    with swapped(Product, "size", 9):
        assert Product.size == 9
    assert Product.size == 3
