from __future__ import annotations

import pytest

from marfl_peer.lab.churn.plan import Action, Count, Event


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"iteration": 3}, [3]),
        ({"every": 1}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"iteration": 2, "every": 3}, [2, 5, 8]),
        ({"iteration": 2, "every": 2, "until": 5}, [2, 4]),
    ],
)
def test_event_is_due_from_its_iteration_on_as_often_as_it_says(event: dict[str, int], expected: list[int]) -> None:
    planned = Event(action=Action.KILL, peers=Count(1), **event)
    assert [iteration for iteration in range(1, 9) if planned.is_due(iteration)] == expected
