from __future__ import annotations

from marfl_peer.lab.simulator.planted.catalogue import CATALOGUE

INVARIANTS = {"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "views", "failure"}


def test_catalogue_has_enough_bugs_for_every_invariant() -> None:
    assert len({bug.name for bug in CATALOGUE}) == len(CATALOGUE) >= 30
    assert {name for bug in CATALOGUE for name in bug.breaks} == INVARIANTS
    assert all(bug.description for bug in CATALOGUE)


def test_catalogue_patches_what_is_there_and_takes_it_back() -> None:
    for bug in CATALOGUE:
        before = [vars(patch.owner)[patch.name] for patch in bug.patches]
        with bug.planted():
            during = [vars(patch.owner)[patch.name] for patch in bug.patches]
            assert all(old is not new for old, new in zip(before, during, strict=True)), bug.name
        assert [vars(patch.owner)[patch.name] for patch in bug.patches] == before, bug.name
