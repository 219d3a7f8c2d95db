"""That what is measured is what it says, not how fast it is."""

from __future__ import annotations

import pytest
import torch

from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS
from marfl_peer.lab.bench import codecs, plan
from marfl_peer.lab.bench.codecs import measure_codecs, one_thread, segments

FLOATS = MAX_SEGMENT_FLOATS + 1000


def test_every_codec_has_its_figures() -> None:
    noted: list[float] = []
    result = measure_codecs(
        plan.EVERY_CODEC, vector_bytes=4 * FLOATS, repeats=2, note=lambda _, done: noted.append(done)
    )
    by_name = {found.codec: found for found in result.codecs}
    assert list(by_name) == ["float32", "bfloat16", "float16", "int8", "int4", "topk:0.0625"]
    sizes = {name: found.bytes_per_value for name, found in by_name.items()}
    expected = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1.016, "int4": 0.516, "topk:0.0625": 0.375}
    assert sizes == pytest.approx(expected, rel=1e-2)
    assert (by_name["float32"].error_rms, by_name["float32"].error_max) == (0.0, 0.0)
    for name in ("bfloat16", "float16", "int8", "int4", "topk:0.0625"):
        found = by_name[name]
        assert 0 < found.error_rms < 1
        assert found.error_rms_with_feedback < found.error_rms / 4
        assert 0 < found.error_max < 0.5
    assert all(min(found.encode_mb_per_second, found.decode_mb_per_second) > 0 for found in result.codecs)
    assert (result.bytes, result.repeats, result.feedback_repeats) == (4 * FLOATS, 2, 50)
    assert result.copy_mb_per_second > 0
    assert noted == [0.0, 1 / 3, 2 / 3]


def test_speed_is_that_of_the_median_pass_after_the_first() -> None:
    assert codecs.speed(4_000_000, [100.0, 1.0, 2.0, 40.0]) == 2.0


def test_segments_cover_all_values_without_gaps() -> None:
    assert list(segments(FLOATS)) == [(0, MAX_SEGMENT_FLOATS), (MAX_SEGMENT_FLOATS, FLOATS)]


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
