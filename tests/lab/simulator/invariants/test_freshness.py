from __future__ import annotations

import pytest
from broken import NEWCOMER, scenario, violations


@pytest.mark.parametrize(
    ("bug", "what"),
    [
        ("momentum not sent", "another vector than its model's"),
        ("every peer alike", "has weight 1, it owns"),
    ],
)
def test_freshness_of_what_is_brought(bug: str, what: str) -> None:
    assert any(what in one.message for one in violations(bug, scenario()))


@pytest.mark.parametrize("bug", ["older state accepted", "behind with weight"])
def test_freshness_of_a_peer_that_was_behind(bug: str) -> None:
    found = violations(bug, scenario(NEWCOMER, iterations=8))
    assert any("nobody agreed on" in one.message or "did not train from" in one.message for one in found)
