"""Results to draw and print."""

from __future__ import annotations

import pytest

from marfl_peer.lab.bench.callbacks import Callback
from marfl_peer.lab.bench.formulas import fit, formulas
from marfl_peer.lab.bench.results import Aggregation, CodecFigures, Codecs, Exchange, Scaling, ScalingRun

SENT = {"tensor": 14_000_000.0, "control": 500.0, "dht": 0.0, "state": 0.0}


@pytest.fixture
def exchange_result() -> Exchange:
    return Exchange(
        members=4,
        bytes=9_600_000,
        codec="float32",
        way="unix",
        spans="measured",
        repeats=50,
        seconds_median=0.030,
        seconds_quartiles=(0.028, 0.033),
        gloo_seconds_median=0.040,
        gloo_seconds_quartiles=(0.039, 0.041),
        ratio_to_gloo=0.75,
        cpu_seconds_median=0.055,
        gloo_cpu_seconds_median=0.035,
        call_seconds_median=0.05,
        bytes_sent_per_member=SENT,
        tensor_bytes_sent=[14_000_000.0] * 4,
        link_bits_per_second=None,
        measured_bits_per_second=[0.0] * 4,
        groups_partial=0,
        error=1e-8,
        callback_cpu_seconds_max=0.0042,
        callbacks=[
            Callback(name="Connection in read", cpu_seconds_max=0.0042, gc_seconds=0.0, calls=80, calls_over_limit=0)
        ],
    )


@pytest.fixture
def aggregation_result() -> Aggregation:
    return Aggregation(
        members=16,
        group_size=4,
        grid=(4, 4),
        bytes=9_600_000,
        codec="float32",
        way="unix",
        repeats=20,
        seconds_median=0.200,
        seconds_quartiles=(0.19, 0.21),
        gloo_seconds_median=0.200,
        gloo_seconds_quartiles=(0.19, 0.21),
        gloo_flat_seconds_median=0.100,
        gloo_flat_seconds_quartiles=(0.09, 0.11),
        hivemind_seconds_median=8.0,
        hivemind_repeats=2,
        hivemind_failures=1,
        ratio_to_gloo=1.0,
        ratio_to_gloo_flat=2.0,
        ratio_to_hivemind=0.025,
        cpu_seconds_median=0.4,
        gloo_cpu_seconds_median=0.3,
        call_seconds_median=0.25,
        bytes_sent_per_member=SENT,
        groups_partial=0,
        error=1e-8,
        callback_cpu_seconds_max=0.0042,
        callbacks=[
            Callback(name="Connection in read", cpu_seconds_max=0.0042, gc_seconds=0.0, calls=80, calls_over_limit=0)
        ],
    )


@pytest.fixture
def scaling_result() -> Scaling:
    def run(peers: int, grid: tuple[int, ...]) -> ScalingRun:
        sent = {kind: len(grid) * count for kind, count in SENT.items()}
        return ScalingRun(
            peers=peers,
            is_simulated=False,
            aggregation="mar",
            group_size=4,
            grid=grid,
            iterations=20,
            bytes_sent_per_peer_per_iteration=sum(sent.values()),
            bytes_sent=sent,
            bytes_sent_first_iteration=sent,
            bytes_sent_last_iteration=sent,
            seconds_per_iteration=0.2,
            seconds_first_iteration=0.4,
            startup_seconds=3.0,
            pss_mib_max=40.0,
            pss_mib_total=160.0,
            dht_lookups_per_peer_per_iteration=0.1,
            groups_partial=0,
            error=1e-8,
            formulas=formulas(peers, 4, 9_600_000),
            scheme_bytes_per_peer_per_iteration=14_400_000.0,
        )

    runs = [run(16, (4, 4)), run(64, (4, 4, 4))]
    sent = [(run.peers, run.bytes_sent_per_peer_per_iteration) for run in runs]
    return Scaling(vector_bytes=9_600_000, codec="float32", runs=runs, fit=fit(sent, 4), log_fit=None)


@pytest.fixture
def codecs_result() -> Codecs:
    figures = CodecFigures(
        codec="int8",
        encode_mb_per_second=1200.4,
        decode_mb_per_second=8400.0,
        bytes_per_value=1.015625,
        error_rms=9e-3,
        error_max=7e-3,
        error_rms_with_feedback=2e-4,
    )
    return Codecs(
        bytes=9_600_000, repeats=20, copy_mb_per_second=13_000.0, feedback_repeats=50, kernels="c", codecs=[figures]
    )
