"""Real processes, few and small: that what is measured is what it says, not how long it takes."""

from __future__ import annotations

import asyncio
import os

import pytest

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.bench.exchange import measure_exchange
from marfl_peer.lab.links import SMALLEST_BURST_BYTES, Rates

FLOATS = 16_000


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("codec", "share"),
    [("topk", 0.094), ("theta=int8,momentum=int4", 0.192)],  # others: the same peers on simulated hosts
)
def test_timed_repeats_send_encoded_values(codec: str, share: float) -> None:
    result = asyncio.run(
        measure_exchange(Settings(codec=codec), members=4, vector_bytes=4 * FLOATS, repeats=3, note=lambda *_: None)
    )
    assert result.codec == codec
    values = 2 * 3 / 4 * 4 * FLOATS
    assert 0.99 * share * values <= result.bytes_sent_per_member["tensor"] < 1.2 * share * values  # with headers
    assert result.groups_partial == 0


@pytest.mark.timeout(400)
def test_members_average_beside_gloo() -> None:
    noted: list[float] = []
    result = asyncio.run(
        measure_exchange(
            Settings(),
            members=3,
            vector_bytes=4 * FLOATS,
            repeats=2,
            note=lambda _, done: noted.append(done),
        )
    )
    assert (result.members, result.bytes, result.codec, result.repeats) == (3, 4 * FLOATS, "float32", 2)
    assert min(result.seconds_median, result.gloo_seconds_median, result.ratio_to_gloo) > 0
    assert result.error < 1e-6
    assert 2 * 2 / 3 * 4 * FLOATS <= result.bytes_sent_per_member["tensor"] < 1.1 * 2 * 2 / 3 * 4 * FLOATS
    assert noted == sorted(noted)
    assert result.callback_cpu_seconds_max == max(found.cpu_seconds_max for found in result.callbacks) > 0
    names = [found.name for found in result.callbacks]
    assert any(name.startswith("Connection in ") for name in names)


@pytest.mark.timeout(400)
def test_members_and_gloo_average_over_links_of_a_rate(needs_namespaces: None) -> None:
    result = asyncio.run(
        measure_exchange(
            Settings(),
            members=2,
            vector_bytes=400_000,
            repeats=2,
            rates=Rates(4 * 10**7, 1, 2 * 10**7),
            note=lambda *_: None,
        )
    )
    assert result.link_bits_per_second == [4 * 10**7, 2 * 10**7]
    # 400 kB each way through 20 Mbit/s take 0.16 s; what is faster went another way. A full bucket is for nothing.
    least_s = (400_000 - 2 * SMALLEST_BURST_BYTES) / (2e7 / 8)
    assert min(result.seconds_quartiles[0], result.gloo_seconds_quartiles[0]) > least_s


@pytest.mark.timeout(400)
def test_chunks_follow_what_was_measured_before_the_first_timed_repeat(needs_namespaces: None) -> None:
    size = 1_600_000  # enough for a member to measure its uplink
    result = asyncio.run(
        measure_exchange(
            Settings(),
            members=4,
            vector_bytes=size,
            repeats=1,
            rates=Rates(4 * 10**8, 1, 4 * 10**7),
            note=lambda *_: None,
        )
    )
    assert result.spans == "measured"
    assert result.measured_bits_per_second[-1] == pytest.approx(4e7, rel=0.5)
    assert result.tensor_bytes_sent[-1] == pytest.approx(
        size, rel=0.02
    )  # in equal chunks everybody sends 1.5 times that


def test_links_where_there_can_be_none_are_an_error_of_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="need root: run it as root, or without --link-rate") as error:
        asyncio.run(
            measure_exchange(Settings(), members=2, vector_bytes=8, repeats=1, rates=Rates(10**8), note=lambda *_: None)
        )
    assert (error.value.what, error.value.value) == ("--link-rate", "100mbit")
