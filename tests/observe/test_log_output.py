from __future__ import annotations

import io
import json
import logging
import re

import pytest

from marfl_peer.facts import Fact, IterationFinished, PeerStarted
from marfl_peer.facts import IterationStarted as Started
from marfl_peer.observe.log import FactLog
from marfl_peer.observe.log_output import LOG_FORMATS, MAX_FIELD, logging_to
from marfl_peer.observe.position import Position

LOGGER = logging.getLogger("marfl_peer.test")
ME = PeerStarted(peer_id="ab" * 20, incarnation=1, run_id="demo", host="10.0.0.1", port=7700, task="digits")
KEYS = ["time", "level", "peer_id", "iteration", "round", "code", "message", "fields"]


def printed(facts: tuple[Fact, ...], log_format: str, level: str = "debug") -> list[str]:
    """What a peer with these facts prints, line by line."""
    stream, position = io.StringIO(), Position()
    with logging_to(stream, level, log_format=log_format, position=position):
        log = FactLog(LOGGER, iterations=30)
        for fact in facts:
            position(fact)
            log(fact)
    return stream.getvalue().splitlines()


def test_every_fact_is_one_json_object_with_the_same_keys(samples: tuple[Fact, ...]) -> None:
    lines = [json.loads(line) for line in printed(samples, "json")]
    assert len(lines) == len(samples)
    for line, fact in zip(lines, samples, strict=True):
        assert list(line) == KEYS
        assert line["fields"]["fact"] == type(fact).__name__
        assert line["peer_id"] == "ab" * 20
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert len({line["code"] for line in lines}) == len(samples)


def test_json_line_says_where_the_peer_was(samples: tuple[Fact, ...]) -> None:
    lines = {line["fields"]["fact"]: line for line in map(json.loads, printed(samples, "json"))}
    where = {name: (line["iteration"], line["round"]) for name, line in lines.items()}
    assert where["PeerStarted"] == (None, None)
    assert where["IterationStarted"] == (7, None)
    assert where["GroupAgreed"] == (7, 1)
    assert where["CellTakenOver"] == (7, 2)
    assert where["IterationFinished"] == (7, None)
    assert where["PeerSeen"] == (7, None)  # and not the one that dates the event
    assert lines["PeerSeen"]["fields"]["iteration"] == 9


def test_code_is_the_reason_where_there_is_one(samples: tuple[Fact, ...]) -> None:
    codes = {line["fields"]["fact"]: line["code"] for line in map(json.loads, printed(samples, "json"))}
    assert codes["RemoteFault"] == "not_finite"
    assert codes["ConnectionRefused"] == "other_run"
    assert codes["IterationFinished"] == "iteration_finished"


def test_text_line_says_where_the_peer_was(samples: tuple[Fact, ...]) -> None:
    (line,) = (line for line in printed(samples, "text", "info") if "iteration 7/30" in line)
    assert re.fullmatch(r"[-0-9]{10} [:0-9]{8},\d{3} INFO    abababab i7 r- iteration 7/30, train loss .*", line)


@pytest.mark.parametrize("log_format", LOG_FORMATS)
def test_iteration_is_one_line_at_info(samples: tuple[Fact, ...], log_format: str) -> None:
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    assert len(printed((Started(iteration=7), finished), log_format, "info")) == 1


def test_words_of_strangers_stay_in_their_line(samples: tuple[Fact, ...]) -> None:
    stream = io.StringIO()
    with logging_to(stream, "info", log_format="json"):
        LOGGER.warning('a\n{"level": "error"}\x1b[2J\x9b\u2028', extra={"code": "odd"})
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert (json.loads(line)["level"], json.loads(line)["code"]) == ("warning", "odd")


def test_long_texts_of_strangers_are_cut_and_what_is_not_finite_is_null() -> None:
    from marfl_peer.facts import Evaluated, RemoteFault

    (cut,) = printed((RemoteFault(code="bad", remote="r", detail="y" * 5000),), "json")
    assert len(json.loads(cut)["fields"]["detail"]) == MAX_FIELD + 3
    (line,) = printed((Evaluated(iteration=1, correct=float("nan"), seen=1, loss=None, scope="share"),), "json")
    assert json.loads(line)["fields"]["correct"] is None


def test_other_records_have_the_same_keys_and_their_exception() -> None:
    stream = io.StringIO()
    with logging_to(stream, "info", log_format="json"):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("asyncio").exception("it failed")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert list(line) == KEYS
    assert (line["code"], line["peer_id"], line["fields"]["logger"]) == (None, None, "asyncio")
    assert "ZeroDivisionError" in line["fields"]["exception"]


def test_more_of_a_kind_are_counted_with_a_code(samples: tuple[Fact, ...]) -> None:
    (fault,) = (fact for fact in samples if type(fact).__name__ == "RemoteFault")
    (finished,) = (fact for fact in samples if isinstance(fact, IterationFinished))
    lines = [json.loads(line) for line in printed((fault,) * 5 + (finished,), "json")]
    assert [line["code"] for line in lines] == ["not_finite"] * 3 + ["suppressed", "iteration_finished"]


@pytest.mark.parametrize("log_format", LOG_FORMATS)
def test_logging_ends_with_its_block(log_format: str) -> None:
    stream = io.StringIO()
    own, other = logging.getLogger("marfl_peer.x"), logging.getLogger("other")
    with logging_to(stream, "debug", log_format=log_format):
        own.debug("first")
        other.info("second")
        other.warning("third")
    own.error("fourth")
    lines = stream.getvalue().splitlines()
    assert ["first" in lines[0], "third" in lines[1], len(lines)] == [True, True, 2]
