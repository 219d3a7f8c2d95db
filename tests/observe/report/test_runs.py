"""What is read from a summary, what is refused, and what follows from it."""

from __future__ import annotations

import msgspec
import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.observe.report.runs import read_run


def test_run_comes_back_from_its_json_with_its_name(run) -> None:
    made = run(command="marfl-peer swarm --peers 4")
    assert read_run(msgspec.json.encode(made), name="place", origin="s.json") == made


def test_iterations_are_put_in_order_and_keys_of_other_versions_passed_over(run, iteration) -> None:
    plain = msgspec.to_builtins(run([iteration(2), iteration(1)])) | {"a later key": [1]}
    found = read_run(msgspec.json.encode(plain), name="place", origin="s.json")
    assert [row.iteration for row in found.iterations] == [1, 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "s.json: is not JSON"),
        (b"{", "s.json: is not JSON"),
        (b"\xff\xfe", "s.json: is not JSON"),
        (b"[]", "s.json: is not the summary of a run: Expected `object`, got `array`"),
        (b"{}", "s.json: is not the summary of a run: Object missing required field `run_id`"),
    ],
)
def test_what_is_no_summary_is_refused_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_run(content, name="s", origin="s.json")
    assert str(refused.value).startswith(says)


def test_run_without_iterations_or_with_one_twice_is_refused(run, iteration) -> None:
    for rows, says in (((), "nothing to report"), ((iteration(1), iteration(1)), "in it twice")):
        with pytest.raises(ConfigError, match=says):
            read_run(msgspec.json.encode(run(rows)), name="s", origin="s.json")


def test_bytes_add_up_over_iterations_kinds_and_peers(run, iteration) -> None:
    made = run([iteration(1), iteration(3, bytes_sent={"tensor": 5}), iteration(4, bytes_sent={})])
    assert made.bytes_until == {1: 1000, 3: 1005, 4: 1005}
    assert made.bytes_of_all == 1005
    assert made.bytes_of_a_peer == 250.0


def test_accuracy_is_of_tested_states_only(run, iteration) -> None:
    made = run([iteration(1, 0.3), iteration(2, 0.6), iteration(3, 0.5), iteration(4, None)])
    assert made.final_accuracy == 0.5
    reached = made.reached(0.5)
    assert reached is not None and reached.iteration == 2
    assert made.reached(0.7) is None
    assert run([iteration(1, None)]).final_accuracy is None
