from __future__ import annotations

import re

from marfl_peer.observe import measures
from marfl_peer.observe.measures import BUCKETS_S, MEASURES, Measure, Shape


def test_every_measure_is_listed_once() -> None:
    declared = [value for value in vars(measures).values() if isinstance(value, Measure)]
    assert sorted(measure.name for measure in MEASURES) == sorted(measure.name for measure in declared)
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)


def test_names_follow_one_pattern() -> None:
    for measure in MEASURES:
        assert re.fullmatch(r"marfl_[a-z]+(_[a-z]+)*", measure.name), measure
        assert measure.name.endswith("_total") == (measure.shape is Shape.COUNTER), measure
        assert measure.name.endswith("_seconds") == (measure.shape is Shape.HISTOGRAM), measure


def test_no_label_is_a_peer_but_that_of_the_info() -> None:
    unbounded = {"peer_id", "remote", "iteration", "round", "line", "detail", "reason"}
    for measure in MEASURES:
        if measure.name != "marfl_peer_info":
            assert not unbounded & set(measure.labels), measure


def test_values_at_the_start_are_those_of_the_labels_of_counters() -> None:
    for measure in MEASURES:
        assert all(len(values) == len(measure.labels) for values in measure.at_start), measure
        assert not measure.at_start or measure.shape is Shape.COUNTER, measure
    assert ("result", "deadline") in measures.WAITS.at_start


def test_buckets_rise() -> None:
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))
