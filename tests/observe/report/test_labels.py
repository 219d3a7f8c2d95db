"""Labels tell runs apart, by what differs and nothing else, and are never equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.observe.report.labels import MAX_LENGTH, labels_of, setting_text
from marfl_peer.observe.report.runs import Run


def test_one_run_is_called_by_its_run_id(run) -> None:
    assert labels_of([run(run_id="demo")]) == ["demo"]


def test_label_is_what_differs(run) -> None:
    runs = [run(peers=4), run(peers=16, codec="int8"), run(peers=16)]
    assert labels_of(runs) == ["4 peers, float32", "16 peers, int8", "16 peers, float32"]


def test_churn_is_said_where_there_is_some(run) -> None:
    assert labels_of([run(churn_plan="kill:0.2"), run()]) == ["churn kill:0.2", "no churn"]
    assert labels_of([run(churn_plan="kill:0.2", peers=9), run()]) == ["9 peers, churn kill:0.2", "4 peers"]


def test_other_settings_are_said_by_their_names_and_the_seed_last(run) -> None:
    first = {"aggregation": "mar", "seed": 1, "lr": 0.1, "overlap": True, "target_accuracy": None}
    other = {"aggregation": "rdfl", "seed": 2, "lr": 0.02, "overlap": False, "target_accuracy": 0.9}
    assert labels_of([run(settings=first), run(settings=other)]) == [
        "mar, lr 0.1, overlap, no target accuracy, seed 1",
        "rdfl, lr 0.02, no overlap, target accuracy 0.9, seed 2",
    ]


def test_what_a_run_does_not_tell_is_left_out(run) -> None:
    runs = [run(settings={}, codec="", run_id="journals"), run(codec="int8"), run(codec="int4")]
    assert labels_of(runs) == ["journals", "int8", "int4"]


def test_equal_runs_are_told_apart_by_run_id_then_place_then_number(run) -> None:
    assert labels_of([run(run_id="a"), run(run_id="b")]) == ["a", "b"]
    assert labels_of([run(name="x"), run(name="y")]) == ["r, x", "r, y"]
    assert labels_of([run(), run(), run()]) == ["r, place", "r, place (2)", "r, place (3)"]


def test_long_labels_are_cut_and_still_differ(run) -> None:
    labels = labels_of([run(codec="c" * 90, run_id="a"), run(codec="c" * 90, run_id="b"), run()])
    assert len(set(labels)) == 3
    assert all(len(label) <= MAX_LENGTH + 4 for label in labels)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 2), st.sampled_from(["", "k"])), max_size=8))
def test_labels_are_unique_and_not_empty(kinds: list[tuple[str, int, str]]) -> None:
    runs = [
        Run(
            run_id="r",
            task="digits",
            peers=peers,
            codec=codec,
            churn_plan=plan,
            iterations=(),
            bytes_sent_per_peer_per_iteration={},
            peers_started=1,
            peers_finished=1,
            peers_lost=0,
            wall_seconds=1.0,
        )
        for codec, peers, plan in kinds
    ]
    labels = labels_of(runs)
    assert all(labels)
    assert len(set(labels)) == len(runs)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lr", 0.1, "lr 0.1"),
        ("local_steps", 10, "local steps 10"),
        ("overlap", False, "no overlap"),
        ("placement", "hashed", "hashed"),
        ("strategy", "mean", "strategy mean"),
    ],
)
def test_setting_is_said_in_words(name: str, value: object, text: str) -> None:
    assert setting_text(name, value) == text
