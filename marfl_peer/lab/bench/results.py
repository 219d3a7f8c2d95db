"""What a bench prints with --json: the same keys always, null where something was not measured. Seconds, bytes."""

from __future__ import annotations

from typing import Literal

import msgspec

from marfl_peer.config import SameMachine
from marfl_peer.lab.bench.callbacks import Callback
from marfl_peer.lab.bench.formulas import Fit, Formulas, LogFit


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One group of `members` processes averages `bytes` bytes. Seconds are from a vector in the memory of each to the
    result in the memory of each; `cpu_seconds_median` is the processor time that all took together meanwhile, which
    depends less on what else the machine does; `call_seconds_median` is the slowest whole call of `Peer.aggregate`
    instead, with the way from the model into the vector and back. `error` is the largest, relative to the largest
    value. `way`: how peers were connected, unix or tcp; gloo and hivemind always speak TCP. `tensor_bytes_sent` is of
    every member, in one repeat on average. `link_bits_per_second`: the rate of every member's link in both directions,
    null without such links; `measured_bits_per_second`: what it had measured itself of its uplink at the end, 0 where
    too little was sent by TCP to tell.
    `callbacks` are those of the event loop that took most, measured apart."""

    members: int
    bytes: int
    codec: str
    way: SameMachine
    spans: str
    repeats: int
    seconds_median: float
    seconds_quartiles: tuple[float, float]
    gloo_seconds_median: float
    gloo_seconds_quartiles: tuple[float, float]
    ratio_to_gloo: float
    cpu_seconds_median: float
    gloo_cpu_seconds_median: float
    call_seconds_median: float
    bytes_sent_per_member: dict[str, float]
    tensor_bytes_sent: list[float]
    link_bits_per_second: list[int] | None
    measured_bits_per_second: list[float]
    groups_partial: int
    error: float
    callback_cpu_seconds_max: float
    callbacks: list[Callback]


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """`members` processes average in groups of `group_size`. `gloo_seconds_median` is that of gloo's all-reduces in the
    same groups, `gloo_flat_...` of one all-reduce of all, `hivemind_...` of as many rounds of hivemind."""

    members: int
    group_size: int
    grid: tuple[int, ...]
    bytes: int
    codec: str
    way: SameMachine
    repeats: int
    seconds_median: float
    seconds_quartiles: tuple[float, float]
    gloo_seconds_median: float
    gloo_seconds_quartiles: tuple[float, float]
    gloo_flat_seconds_median: float
    gloo_flat_seconds_quartiles: tuple[float, float]
    hivemind_seconds_median: float | None
    hivemind_repeats: int
    hivemind_failures: int
    ratio_to_gloo: float
    ratio_to_gloo_flat: float
    ratio_to_hivemind: float | None
    cpu_seconds_median: float
    gloo_cpu_seconds_median: float
    call_seconds_median: float
    bytes_sent_per_member: dict[str, float]
    groups_partial: int
    error: float
    callback_cpu_seconds_max: float
    callbacks: list[Callback]


class ScalingRun(msgspec.Struct, frozen=True, kw_only=True):
    """`iterations` iterations of `peers` peers without training, the first included: it has the handshakes and the
    look-ups in it. `bytes_sent` is by kind; it, its sum and `dht_lookups` are a peer's in an iteration, on average.
    `seconds_per_iteration` is the median over iterations of the slowest peer's call of `Peer.aggregate`. Memory is PSS
    after the last iteration, of any one peer at most and of all, null where the system does not tell. Where
    `is_simulated` only bytes and look-ups are known; the rest is null. `scheme_bytes_per_peer_per_iteration`: tensor
    bytes by the formula of the run's own scheme; `grid` is empty where groups are drawn."""

    peers: int
    is_simulated: bool
    aggregation: str
    group_size: int
    grid: tuple[int, ...]
    iterations: int
    bytes_sent_per_peer_per_iteration: float
    bytes_sent: dict[str, float]
    bytes_sent_first_iteration: dict[str, float]
    bytes_sent_last_iteration: dict[str, float]
    seconds_per_iteration: float | None = None
    seconds_first_iteration: float | None = None
    startup_seconds: float | None = None
    pss_mib_max: float | None = None
    pss_mib_total: float | None = None
    dht_lookups_per_peer_per_iteration: float
    groups_partial: int
    error: float | None = None
    formulas: Formulas
    scheme_bytes_per_peer_per_iteration: float


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """`fit` is null for fewer than two numbers of peers, `log_fit` for fewer than three. Both are of all runs."""

    vector_bytes: int
    codec: str
    runs: list[ScalingRun]
    fit: Fit | None
    log_fit: LogFit | None


class CodecFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one codec. MB/s are of float32 values, in and out; errors are relative to the root mean square of the values,
    the largest to the largest of them. `error_rms_with_feedback` is that of the mean of many sendings of the same
    values, with what was left over sent along."""

    codec: str
    encode_mb_per_second: float
    decode_mb_per_second: float
    bytes_per_value: float
    error_rms: float
    error_max: float
    error_rms_with_feedback: float


class Codecs(msgspec.Struct, frozen=True, kw_only=True):
    """On one thread, `bytes` bytes of float32. `copy_mb_per_second` is a plain copy of the same. `kernels`: whether
    what can be was computed in C."""

    bytes: int
    repeats: int
    copy_mb_per_second: float
    feedback_repeats: int
    kernels: Literal["c", "numpy"]
    codecs: list[CodecFigures]


Result = Exchange | Aggregation | Scaling | Codecs


def to_json(result: Result) -> str:
    """Indented, without a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1).decode()
