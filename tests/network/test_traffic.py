"""Bytes are counted as what they were for."""

from __future__ import annotations

import pytest

from marfl_peer.network.traffic import KINDS, Traffic, kind_of
from marfl_peer.protocol.messages import (
    Ballot,
    Fetch,
    Heartbeat,
    LineName,
    Message,
    ModelPart,
    ModelRequest,
    Part,
    ResultPart,
    StatePart,
)

NAME = LineName(iteration=1, round=1, line=0)
BALLOT = Ballot(attempt=1, leader="0" * 40)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0), "tensor"),
        (ResultPart(name=NAME, ballot=BALLOT, offset=0), "tensor"),
        (ModelPart(name=NAME, offset=0), "tensor"),
        (StatePart(iteration=1, offset=0), "state"),
        (ModelRequest(name=NAME), "control"),
        (Fetch(name=NAME, ballot=BALLOT), "control"),
        (Heartbeat(), "control"),
    ],
)
def test_kind_of_message(message: Message, kind: str) -> None:
    assert kind_of(message) == kind


def test_totals_add_up_by_kind() -> None:
    traffic = Traffic()
    traffic.wrote("tensor", 5)
    traffic.wrote("tensor", 6)
    traffic.wrote("state", 1)
    assert traffic.totals() == {"tensor": 11, "control": 0, "dht": 0, "state": 1}


def test_totals_ask_the_dht_when_they_are_read() -> None:
    sent = [3]
    traffic = Traffic(dht_sent=lambda: sent[0])
    assert traffic.totals()["dht"] == 3
    sent[0] = 8
    assert traffic.totals()["dht"] == 8
    assert tuple(traffic.totals()) == KINDS


def test_traffic_of_two_peers_is_counted_apart() -> None:
    one, other = Traffic(), Traffic()
    one.wrote("control", 1)
    assert other.totals()["control"] == 0
