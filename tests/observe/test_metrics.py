from __future__ import annotations

import math
import string
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.facts import AnyFact, ConnectionRefused, Fact, IterationFinished, RemoteFault, ViewChanged
from marfl_peer.observe.measures import MEASURES
from marfl_peer.observe.metrics import MAX_CODES, OTHER, Metrics

Samples = tuple[Fact, ...]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics(samples: Samples) -> Metrics:
    filled = Metrics()
    for fact in samples:
        filled(fact)
    return filled


def test_samples_have_every_fact_once(samples: Samples) -> None:
    assert tuple(type(fact) for fact in samples) == typing.get_args(AnyFact)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("marfl_peer_info", {"peer_id": "ab" * 20, "run_id": "demo", "task": "digits"}, 1),
        ("marfl_iteration_number", {}, 7),
        ("marfl_iterations_total", {"outcome": "finished"}, 1),
        ("marfl_iterations_total", {"outcome": "skipped"}, 1),
        ("marfl_iteration_seconds_sum", {}, 1.5),
        ("marfl_local_update_seconds_sum", {}, 0.2),
        ("marfl_trained_samples_total", {}, 320),
        ("marfl_weight_samples", {}, 90),
        ("marfl_train_loss_mean", {}, 0.5),
        ("marfl_test_loss_mean", {}, 0.25),
        ("marfl_test_accuracy_ratio", {}, 0.9312),
        ("marfl_view_peers", {}, 16),
        ("marfl_in_view_bool", {}, 1),
        ("marfl_membership_events_total", {"event": "lost"}, 1),
        ("marfl_peers_seen", {}, 14),
        ("marfl_peers_known", {}, 17),
        ("marfl_uplink_bytes_per_second", {}, 2.5e6),
        ("marfl_merges_total", {}, 1),
        ("marfl_groups_total", {"outcome": "partial"}, 1),
        ("marfl_group_members_absent_total", {}, 1),
        ("marfl_ballots_total", {}, 3),
        ("marfl_exchange_seconds_sum", {}, 0.4),
        ("marfl_distillation_rounds_total", {"outcome": "learned"}, 1),
        ("marfl_distillation_models_total", {"role": "heard"}, 2),
        ("marfl_distillation_models_total", {"role": "teacher"}, 1),
        ("marfl_distillation_seconds_sum", {}, 0.3),
        ("marfl_distillation_received_bytes_total", {}, 1024),
        ("marfl_distillation_divergence_nats", {}, 0.75),
        ("marfl_waits_total", {"waited_for": "members", "outcome": "arrived"}, 1),
        ("marfl_wait_seconds_sum", {"waited_for": "members"}, 0.03),
        ("marfl_cells_taken_over_total", {}, 1),
        ("marfl_results_superseded_total", {}, 1),
        ("marfl_privacy_epsilon", {"against": "mate"}, 39.8),
        ("marfl_privacy_epsilon", {"against": "outsider"}, 6.75),
        ("marfl_privacy_clip", {}, 0.25),
        ("marfl_privacy_releases", {}, 7),
        ("marfl_sent_bytes_total", {"kind": "tensor"}, 3 * 2**20),
        ("marfl_sent_bytes_total", {"kind": "control"}, 512),
        ("marfl_state_fetched_bytes_total", {}, 2048),
        ("marfl_state_saved_bytes_total", {}, 4096),
        ("marfl_state_save_seconds_count", {}, 1),
        ("marfl_dht_lookups_total", {"purpose": "group"}, 1),
        ("marfl_dht_lookup_seconds_sum", {}, 0.1),
        ("marfl_dht_publications_total", {"purpose": "member"}, 1),
        ("marfl_dht_calls_total", {"outcome": "answered"}, 5),
        ("marfl_dht_calls_total", {"outcome": "missed"}, 1),
        ("marfl_dht_calls_total", {"outcome": "served"}, 4),
        ("marfl_model_sketch", {"part": "0"}, 0.5),
        ("marfl_connections_refused_total", {"code": "other_run", "by": "us"}, 1),
        ("marfl_remote_faults_total", {"code": "not_finite"}, 1),
        ("marfl_datagrams_rejected_total", {"code": "garbage"}, 4),
        ("marfl_loop_lag_seconds_sum", {}, 0.7),
    ],
)
def test_facts_become_metrics(metrics: Metrics, name: str, labels: dict[str, str], expected: float) -> None:
    assert value(metrics, name, **labels) == pytest.approx(expected)


def test_every_measure_gets_a_value(metrics: Metrics) -> None:
    filled = {family.name for family in metrics.registry.collect() if family.samples}
    assert filled == {measure.name.removesuffix("_total") for measure in MEASURES}


def test_outcomes_that_are_known_beforehand_are_there_at_zero(samples: Samples) -> None:
    fresh = Metrics()
    for measure in MEASURES:
        for values in measure.at_start:
            assert value(fresh, measure.name, **dict(zip(measure.labels, values, strict=True))) == 0
    known = {measure.name.removesuffix("_total"): measure.at_start for measure in MEASURES if measure.at_start}
    for fact in samples:
        fresh(fact)
    for family in fresh.registry.collect():
        if family.name in known:
            told = {tuple(s.labels.values()) for s in family.samples if s.name.endswith("_total")}
            assert {frozenset(values) for values in told} == {frozenset(values) for values in known[family.name]}


@pytest.mark.parametrize("factor", [1.0, -0.5, 1e300, math.inf])
def test_sketch_of_a_fact_is_folded(samples: Samples, factor: float) -> None:
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    metrics = Metrics()
    metrics(msgspec.structs.replace(finished, projection=tuple(factor * number for number in range(1, 65))))
    found = [value(metrics, "marfl_model_sketch", part=str(part)) for part in range(16)]
    assert found == pytest.approx([factor * (4 * part + 4 + 16 + 32 + 48) for part in range(16)])


def test_model_that_is_no_number_has_a_sketch_that_is_none(samples: Samples) -> None:
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    metrics = Metrics()
    metrics(msgspec.structs.replace(finished, projection=(math.inf, *[0.0] * 15, -math.inf)))
    found = value(metrics, "marfl_model_sketch", part="0")
    assert found is not None
    assert math.isnan(found)
    assert value(metrics, "marfl_model_sketch", part="1") == 0


def test_counters_add_up_over_iterations(samples: Samples) -> None:
    metrics = Metrics()
    for fact in samples * 3:
        metrics(fact)
    assert value(metrics, "marfl_sent_bytes_total", kind="control") == 3 * 512
    assert value(metrics, "marfl_iterations_total", outcome="finished") == 3


def test_unknown_accuracy_keeps_the_last_one(metrics: Metrics, samples: Samples) -> None:
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    metrics(
        IterationFinished(
            iteration=8,
            seconds=1.0,
            weight=0,
            projection=(),
            train_loss=None,
            evaluated_iteration=None,
            test_accuracy=None,
            test_loss=None,
            groups_complete=0,
            groups_partial=0,
            peers=1,
            bytes_sent={},
            dht_lookups=0,
        )
    )
    assert value(metrics, "marfl_test_accuracy_ratio") == finished.test_accuracy
    assert value(metrics, "marfl_iteration_number") == 8


def test_peer_out_of_the_view_is_seen() -> None:
    metrics = Metrics()
    metrics(ViewChanged(iteration=3, digest="", peers=4, grid=(2, 2), cell=None))
    assert value(metrics, "marfl_in_view_bool") == 0


@given(st.lists(st.text(string.ascii_lowercase + string.digits + "_ \n\u00e4", max_size=60), max_size=200))
def test_codes_of_strangers_make_a_bounded_number_of_series(codes: list[str]) -> None:
    metrics = Metrics()
    for code in codes:
        metrics(ConnectionRefused(code=code, remote="r", by_us=False, detail=""))
    (family,) = (family for family in metrics.registry.collect() if family.name == "marfl_connections_refused")
    counted = [sample for sample in family.samples if sample.name.endswith("_total")]
    assert len(counted) <= MAX_CODES + 1
    assert sum(sample.value for sample in counted) == len(codes)


def test_codes_past_the_bound_are_counted_as_other() -> None:
    metrics = Metrics()
    for number in range(MAX_CODES + 5):
        metrics(RemoteFault(code=f"code_{number}", remote="r", detail=""))
    metrics(RemoteFault(code="code_0", remote="r", detail=""))
    assert value(metrics, "marfl_remote_faults_total", code=OTHER) == 5
    assert value(metrics, "marfl_remote_faults_total", code="code_0") == 2


def test_two_peers_have_registries_of_their_own(samples: Samples) -> None:
    first, second = Metrics(), Metrics()
    for fact in samples:
        first(fact)
    assert value(first, "marfl_trained_samples_total") == 320
    assert value(second, "marfl_trained_samples_total") == 0
