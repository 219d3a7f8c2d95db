"""Bytes are counted as what they were for."""

from __future__ import annotations

import pytest

from marfl_peer.network.traffic import KINDS, Traffic
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
def test_frames_are_counted_by_what_they_are_for(message: Message, kind: str) -> None:
    traffic = Traffic()
    traffic.wrote(message, 7)
    assert traffic.totals() == {"tensor": 0, "control": 0, "dht": 0, "state": 0} | {kind: 7}


def test_totals_add_up_by_kind() -> None:
    traffic = Traffic()
    traffic.wrote(Part(name=NAME, ballot=BALLOT, stage="scatter", offset=0), 5)
    traffic.wrote(ResultPart(name=NAME, ballot=BALLOT, offset=0), 6)
    traffic.wrote(StatePart(iteration=1, offset=0), 1)
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
    one.wrote(Heartbeat(), 1)
    assert other.totals()["control"] == 0
