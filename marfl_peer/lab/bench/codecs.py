"""`marfl-peer bench codecs`: how fast each codec encodes and decodes on one thread, and what it loses.

Segment by segment, as an exchange does it, into memory that is there; beside it a plain copy of the same segments: as
fast as this machine's memory is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from marfl_peer.averaging import kernels
from marfl_peer.averaging.codecs.codec import MAX_SEGMENT_FLOATS, Codec, chances, encode_with_feedback
from marfl_peer.averaging.codecs.registry import codec_named
from marfl_peer.lab.bench.contest import Note
from marfl_peer.lab.bench.results import CodecFigures, Codecs
from marfl_peer.lab.bench.vectors import own_vector

FEEDBACK_REPEATS = 50
FLOAT_BYTES = 4


def measure_codecs(names: Sequence[str], *, vector_bytes: int, repeats: int, note: Note) -> Codecs:
    """Codecs as `--codec` names them. They take turns, so that what else the machine does meets all; medians."""
    values = own_vector(0, 1, vector_bytes // FLOAT_BYTES)
    benches = [CodecBench(codec_named(name), values) for name in names]
    copied = torch.empty_like(values)
    copy_s: list[float] = []
    with one_thread():
        for repeat in range(repeats + 1):
            note("measuring", repeat / (repeats + 1))
            copy_s.append(seconds(lambda: copy(values, copied)))
            for bench in benches:
                bench.encode_s.append(seconds(bench.encode))
                bench.decode_s.append(seconds(bench.decode))
        found = [bench.figures() for bench in benches]
    return Codecs(
        bytes=vector_bytes,
        repeats=repeats,
        copy_mb_per_second=speed(vector_bytes, copy_s),
        feedback_repeats=FEEDBACK_REPEATS,
        kernels="numpy" if kernels.native is None else "c",
        codecs=found,
    )


class CodecBench:
    """One codec and the memory that it works in. The first pass finds that memory cold and does not count."""

    def __init__(self, codec: Codec, values: Tensor) -> None:
        self.encode_s: list[float] = []
        self.decode_s: list[float] = []
        self._codec, self._values = codec, values
        self._decoded = torch.empty_like(values)
        self._segments = list(segments(values.numel()))
        self._encoded = [
            torch.empty(codec.encoded_bytes(stop - start), dtype=torch.uint8) for start, stop in self._segments
        ]
        self._chances = [chances(7919 * start, stop - start) for start, stop in self._segments]

    def encode(self) -> None:
        for (start, stop), out, drawn in zip(self._segments, self._encoded, self._chances, strict=True):
            self._codec.encode(self._values[start:stop], out, drawn)

    def decode(self) -> None:
        for (start, stop), encoded in zip(self._segments, self._encoded, strict=True):
            self._codec.decode(encoded, self._decoded[start:stop])

    def figures(self) -> CodecFigures:
        values, size = self._values, FLOAT_BYTES * self._values.numel()
        off = self._decoded - values
        return CodecFigures(
            codec=self._codec.name,
            encode_mb_per_second=speed(size, self.encode_s),
            decode_mb_per_second=speed(size, self.decode_s),
            bytes_per_value=sum(encoded.numel() for encoded in self._encoded) / values.numel(),
            error_rms=rms(off) / rms(values),
            error_max=float(off.abs().max() / values.abs().max()),
            error_rms_with_feedback=rms(self._mean_with_feedback() - values) / rms(values),
        )

    def _mean_with_feedback(self) -> Tensor:
        """Of what is decoded when the same values are sent again and again, and what was left over goes along."""
        mean = torch.empty_like(self._values)
        for (start, stop), out in zip(self._segments, self._encoded, strict=True):
            total, decoded, left = torch.zeros(stop - start, dtype=torch.float64), torch.empty(stop - start), None
            for repeat in range(FEEDBACK_REPEATS):
                drawn = chances(7919 * start + 104729 * repeat, stop - start)
                left = encode_with_feedback(self._codec, self._values[start:stop], left, out, drawn, decoded)
                total += decoded
            mean[start:stop] = total / FEEDBACK_REPEATS
        return mean


def segments(count: int) -> Iterator[tuple[int, int]]:
    """What is encoded in one go, as (start, stop)."""
    for start in range(0, count, MAX_SEGMENT_FLOATS):
        yield start, min(start + MAX_SEGMENT_FLOATS, count)


def copy(values: Tensor, out: Tensor) -> None:
    for start, stop in segments(values.numel()):
        out[start:stop].copy_(values[start:stop])


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def speed(size: int, passes_s: Sequence[float]) -> float:
    """MB/s of `size` bytes in the median pass after the first."""
    return size / median(passes_s[1:]) / 1e6


def rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@contextmanager
def one_thread() -> Iterator[None]:
    """As in a peer; what was set before is set again at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
