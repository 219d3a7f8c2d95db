from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.ids import PEER_ID_BYTES, dht_key, peer_id_of, short

PARTS = st.lists(st.text(st.characters(exclude_characters="\x1f", codec="utf-8")), min_size=1)


def test_peer_id_is_the_start_of_the_key_digest() -> None:
    key = bytes(range(32))
    assert peer_id_of(key) == hashlib.sha256(key).hexdigest()[: 2 * PEER_ID_BYTES]
    assert peer_id_of(key) != peer_id_of(key[::-1])


@given(PARTS, PARTS)
def test_dht_keys_are_equal_only_for_equal_parts(first: list[str], second: list[str]) -> None:
    assert len(dht_key(*first)) == 20
    assert (dht_key(*first) == dht_key(*second)) == (first == second)


def test_dht_key_takes_numbers_and_separates_parts() -> None:
    assert dht_key("run", 1, 23) == dht_key("run", "1", "23")
    assert dht_key("run", 1, 23) != dht_key("run", 12, 3)


def test_short_id_is_a_prefix() -> None:
    assert short("0123456789abcdef") == "01234567"
