from __future__ import annotations

import pytest

from marfl_peer.learning.seeds import seed_of


def test_seed_of_is_the_same_on_every_machine() -> None:
    assert seed_of("batches", 1, 2, 3) == 1539847456084874538


@pytest.mark.parametrize("other", [("b", "a"), ("ab",), ("a", "b", ""), ("a", "c")])
def test_seed_of_other_parts_differs(other: tuple[str, ...]) -> None:
    assert seed_of("a", "b") != seed_of(*other)


def test_seed_of_fits_torch_and_numpy() -> None:
    assert all(0 <= seed_of(number) < 2**63 for number in range(1000))
