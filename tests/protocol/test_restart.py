"""A swarm that was stopped goes on from the latest state that any founder holds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PeerId
from marfl_peer.protocol.restart import Held, start_from

IDS = [PeerId(f"{number:040x}") for number in range(12)]
helds = st.dictionaries(
    st.sampled_from(IDS), st.builds(Held, st.integers(0, 3), st.sampled_from(["aa", "bb", "cc"])), min_size=1
)


def test_latest_counts_not_that_of_most() -> None:
    held = {IDS[0]: Held(4, "aa"), IDS[1]: Held(5, "ff"), IDS[2]: Held(4, "aa")}
    assert start_from(held) == (Held(5, "ff"), [IDS[1]])


def test_of_one_iteration_that_of_most_counts_then_the_lowest_digest() -> None:
    held = {IDS[0]: Held(5, "aa"), IDS[1]: Held(5, "bb"), IDS[2]: Held(5, "bb")}
    assert start_from(held) == (Held(5, "bb"), [IDS[1], IDS[2]])
    del held[IDS[2]]
    assert start_from(held) == (Held(5, "aa"), [IDS[0]])


@given(helds, st.randoms(use_true_random=False))
def test_choice_depends_on_no_order_and_nobody_holds_a_later_one(held: dict[PeerId, Held], rng: random.Random) -> None:
    shuffled = list(held.items())
    rng.shuffle(shuffled)
    state, holders = start_from(held)
    assert start_from(dict(shuffled)) == (state, holders)
    assert holders == sorted(peer for peer, theirs in held.items() if theirs == state)
    assert state.iteration == max(theirs.iteration for theirs in held.values())
