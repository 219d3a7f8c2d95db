from __future__ import annotations

import logging

import pytest

from marfl_peer.facts import (
    CellTakenOver,
    DatagramRejected,
    Fact,
    IterationFinished,
    PeerSeen,
    PeerStopped,
    PrivacySpent,
    RemoteFault,
)
from marfl_peer.observe.log import MAX_DETAIL, MAX_WARNINGS_A_KIND, FactLog, readable_bytes


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> FactLog:
    caplog.set_level(logging.INFO)
    return FactLog(logging.getLogger("test"), iterations=30)


def test_iteration_is_one_line(log: FactLog, caplog: pytest.LogCaptureFixture, samples: tuple[Fact, ...]) -> None:
    for fact in samples:
        if isinstance(fact, IterationFinished):
            log(fact)
    assert caplog.messages == [
        "iteration 7/30, train loss 0.5000, accuracy 93.12% (after 6), groups 1/2 complete, 16 peers, "
        "sent 3.0 MiB, 1.50 s"
    ]


def test_every_fact_is_logged_at_its_level(caplog: pytest.LogCaptureFixture, samples: tuple[Fact, ...]) -> None:
    caplog.set_level(logging.DEBUG)
    levels = {}
    for fact in samples:
        caplog.clear()
        FactLog(logging.getLogger("test"), iterations=30)(fact)
        (record,) = caplog.records
        assert record.getMessage()
        levels[type(fact).__name__] = record.levelname
    warned = {name for name, level in levels.items() if level == "WARNING"}
    assert warned == {
        *("IterationSkipped", "PeerSeen", "ConnectionRefused", "RemoteFault", "DatagramRejected"),
        *("StateNotSaved", "StateRejected"),
    }
    assert {name for name, level in levels.items() if level == "DEBUG"} == {
        *("IterationStarted", "LocalUpdateFinished", "Distilled", "WaitEnded", "GroupAgreed", "GroupFinished"),
        *("Evaluated", "PeersCounted", "DhtLookedUp", "DhtPublished", "StateSaved", "LoopLagged", "UplinkMeasured"),
        "VectorSketched",
    }


def test_peer_that_joins_is_information(log: FactLog, caplog: pytest.LogCaptureFixture) -> None:
    log(PeerSeen(peer_id="cd" * 20, event="joined", iteration=3, reason=""))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("INFO", "peer cdcdcdcd joined")]


def test_stand_in_without_a_predecessor_is_said(log: FactLog, caplog: pytest.LogCaptureFixture) -> None:
    log(CellTakenOver(iteration=1, round=2, cell=3, instead_of=None))
    assert caplog.messages == ["iteration 1, round 2: plays cell 3 of nobody"]


def test_error_is_an_error(log: FactLog, caplog: pytest.LogCaptureFixture) -> None:
    log(PeerStopped(reason="error", iteration=3, detail="disk"))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_flood_of_faults_is_cut_and_counted(
    log: FactLog, caplog: pytest.LogCaptureFixture, samples: tuple[Fact, ...]
) -> None:
    for _ in range(MAX_WARNINGS_A_KIND + 40):
        log(DatagramRejected(code="garbage", count=1))
    assert len(caplog.records) == MAX_WARNINGS_A_KIND
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    log(finished)
    assert caplog.messages[MAX_WARNINGS_A_KIND] == "and 40 more: datagram"
    log(DatagramRejected(code="garbage", count=1))
    assert caplog.messages[-1].startswith("rejected 1 datagram")


def test_words_of_strangers_can_neither_forge_lines_nor_fill_them(
    log: FactLog, caplog: pytest.LogCaptureFixture
) -> None:
    log(RemoteFault(code="bad", remote="10.0.0.9:1", detail="x\n2026 ERROR all is lost\x1b[31m" + "y" * 5000))
    (message,) = caplog.messages
    assert message.isprintable()
    assert len(message) < MAX_DETAIL + 100


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB"), (2**42, "4096.0 GiB")],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert readable_bytes(count) == text


def test_what_was_spent_is_a_line(log: FactLog, caplog: pytest.LogCaptureFixture, samples: tuple[Fact, ...]) -> None:
    for fact in samples:
        if isinstance(fact, PrivacySpent):
            log(fact)
    assert caplog.messages == [
        "privacy after 7 releases: epsilon 39.8 against a group-mate, 6.75 against an outsider (delta 1e-05)"
    ]
