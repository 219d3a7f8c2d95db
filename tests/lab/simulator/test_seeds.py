"""Seeds that broke an invariant once, each with what was mended. The drawing may change what a seed stands for; these
runs have to hold whatever they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.run import run

MENDED = {
    43: "who was through with an iteration, alone, when it heard that the swarm was ahead began that one again",
    49: "who was started again on an empty disk, knowing nobody, did not join those who dialled it: its lines waited",
    163: "a cell was taken over long after its round's time",
    183: "who got the state from nobody trained on from a stale one with its weight",
    188: "of two connections to a peer the one in use broke, and nobody said again what was lost with it",
    332: "a question for the state was lost with a connection, and a later state was asked for, which all awaited",
    522: "a peer broke the rules towards one of a group that did not hear it any more; the leader still invited both",
    727: "a founder whose start was lost with a connection kept its promise while all waited; then nobody led its line",
    924: "a leader that was an iteration behind led nobody, and the others of its line waited for it, each alone",
    1386: "a newcomer led its first line without a member that it could not reach long before, on its way in",
    1793: "who was started again joined by a member that was behind its state, and gave that up for an older one",
    2093: "a cell was taken over from another line's result by a peer that waited for that of the cell's own line",
    2124: "a newcomer that had promised to found a swarm joined another one, and led both astray",
    2255: "peers that only denied their loss were treated as started again: their rounds fell apart",
    2265: "the same, in the middle of founding",
    2352: "the same, and its line waited twice",
    2491: "a peer that sent garbage came back at once, hundreds of times, and each time its groups began again",
    3567: "who had heard of a swarm that was no more counted its members in the next one",
    3720: "a connection that closed again took its other end out of the survey of newcomers for good",
    3870: "the answer to a joiner was lost with its earlier life's connection; it asked dead peers while all waited",
    4702: "a needless second connection closed, and its end led on at once without the peer that was still connected",
    5496: "founders turned to a lower one, which started nothing; the swarm that counted them waited for them",
    8423: "who was lost after its word for an iteration to come was awaited in it: that word was heard when it began",
    12030: "two peers were not connected when it flooded that their neighbours were started again, and waited for them",
    13094: "whose view counts an earlier life of theirs were played for, and the others met twice",
    90047: "who was offered the state by half of a group asked for a later one as the other half came to it",
    1_000_227: "a founder whose start had reached one peer was started again, and founded another with the others",
}


MENDED_WITH_CODECS = {
    5: "a peer exchanged at two places with the same name in one iteration, and fed back what the other had left",
    15: "a hostile sender's values that are not finite were finite ones to who decoded them",
    90: "a cell was taken over whose player held two values of it, which rounding had made different",
    201: "who took a cell over fed nothing back, where parallel lines did",
    228: "the same, and members began the iteration after with other bits",
}


@pytest.mark.parametrize("seed", sorted(MENDED_WITH_CODECS))
def test_seed_that_broke_an_invariant_where_values_are_rounded_holds(seed: int) -> None:
    report = run(replace(draw(seed), codec="theta=int8,momentum=int4"))
    assert [f"{one.invariant}: {one.message}" for one in report.violations] == [], MENDED_WITH_CODECS[seed]


@pytest.mark.parametrize("seed", sorted(MENDED))
def test_seed_that_broke_an_invariant_holds(seed: int) -> None:
    """Without aims, which came later, each is still what broke it. The soak runs them with their aims, as all seeds."""
    report = run(draw(seed, aims=False))
    assert [f"{violation.invariant}: {violation.message}" for violation in report.violations] == [], MENDED[seed]
