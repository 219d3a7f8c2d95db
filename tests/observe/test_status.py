from __future__ import annotations

import msgspec
import pytest

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import Fact, GroupFinished, PeerSeen, PeerStopped
from marfl_peer.observe.status import MAX_DETAIL, Failure, MemberRow, Status, failure_in, read_status


def test_status_survives_its_way_through_json() -> None:
    status = Status(
        peer_id="ab" * 20,
        grid=(4, 4),
        peers=(MemberRow(peer_id="cd" * 20, address="10.0.0.1:7700", status="lost", connected=False),),
        groups={"complete": 3},
        last_failure=Failure(at=1.5, iteration=2, code="peer_lost", detail="silent"),
    )
    assert read_status(msgspec.json.decode(msgspec.json.encode(status))) == status


def test_status_of_an_older_release_lacks_fields_and_of_a_newer_one_has_more() -> None:
    status = read_status({"peer_id": "ab", "iteration": 3, "colour": "red", "peers": [{"peer_id": "cd", "age": 3}]})
    assert (status.peer_id, status.iteration, status.round, status.last_failure) == ("ab", 3, None, None)
    assert status.peers == (MemberRow(peer_id="cd"),)


@pytest.mark.parametrize("answer", [{"iteration": "3"}, {"peers": [1]}, {"bytes_sent": {"tensor": None}}, {"grid": 4}])
def test_status_with_values_of_other_types_is_the_other_sides_fault(answer: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_status(answer)
    assert caught.value.code == "bad_message"


def test_failures_are_told_from_other_facts(samples: tuple[Fact, ...]) -> None:
    failures = {type(fact).__name__: failed[0] for fact in samples if (failed := failure_in(fact)) is not None}
    assert failures == {
        "GroupFinished": "group_partial",
        "IterationSkipped": "iteration_skipped",
        "PeerSeen": "peer_lost",
        "ConnectionRefused": "other_run",
        "RemoteFault": "not_finite",
        "StateNotSaved": "state_not_saved",
        "StateRejected": "state_damaged",
    }


def test_what_went_well_is_no_failure() -> None:
    whole = GroupFinished(
        iteration=1, round=1, line=0, outcome="complete", attempts=1, members=(), absent=0, seconds=0.1
    )
    assert failure_in(whole) is None
    assert failure_in(PeerSeen(peer_id="ab", event="left", iteration=1, reason="")) is None
    assert failure_in(PeerStopped(reason="finished", iteration=1, detail="")) is None


def test_error_at_the_end_is_one_and_long_words_are_cut() -> None:
    failed = failure_in(PeerStopped(reason="error", iteration=1, detail="x" * 5000))
    assert failed == ("stopped", "x" * MAX_DETAIL)
