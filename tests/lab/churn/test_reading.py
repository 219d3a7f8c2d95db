from __future__ import annotations

from pathlib import Path

import pytest

from marfl_peer.errors import ConfigError
from marfl_peer.lab.churn.plan import Action, Chance, ChurnPlan, Count, Event, Listed, Moment, Share
from marfl_peer.lab.churn.reading import read_plan


def read(text: str, *, peers: int = 16, iterations: int = 10) -> ChurnPlan:
    return read_plan(text, seed=7, peers=peers, iterations=iterations)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("kill:0.2", Event(action=Action.KILL, peers=Share(0.2), every=1, restart_after_s=0.5)),
        ("dropout:.25", Event(action=Action.DROPOUT, peers=Chance(0.25), every=1)),
        ("pause:1", Event(action=Action.PAUSE, peers=Share(1.0), every=1, for_s=2.0)),
        ("slow:0.1", Event(action=Action.SLOW, peers=Share(0.1), when=Moment.UPDATE)),
    ],
)
def test_shorthand_is_one_event(text: str, event: Event) -> None:
    assert read(text) == ChurnPlan(seed=7, events=(event,))
    assert read(text).written == text


def test_plan_is_read_with_all_its_keys(tmp_path: Path) -> None:
    text = """
seed = 3
[[event]]
action = "kill"
iteration = 3
every = 2
until = 9
peers = "12.5%"
when = "update"
restart_after_s = 1
[[event]]
action = "slow"
peers = [4, 1, 4]
for_s = 2.5
speed = 0.25
[[event]]
action = "dropout"
probability = 0.2
every = 1
[[event]]
action = "restart"
iteration = 5
peers = 2
"""
    assert read(written(tmp_path, text)) == ChurnPlan(
        seed=3,
        events=(
            Event(
                action=Action.KILL,
                iteration=3,
                every=2,
                until=9,
                peers=Share(0.125),
                when=Moment.UPDATE,
                restart_after_s=1.0,
            ),
            Event(action=Action.SLOW, peers=Listed((1, 4)), for_s=2.5, speed=0.25),
            Event(action=Action.DROPOUT, peers=Chance(0.2), every=1),
            Event(action=Action.RESTART, iteration=5, peers=Count(2)),
        ),
    )


def test_seed_of_the_run_serves_where_the_plan_has_none(tmp_path: Path) -> None:
    assert read(written(tmp_path, '[[event]]\naction = "kill"\npeers = 1')).seed == 7


@pytest.mark.parametrize(
    ("event", "what", "remedy"),
    [
        ("peers = 1", "event 1: action", "choose one of kill, restart"),
        ('action = "murder"\npeers = 1', "event 1: action", "choose one of kill"),
        ('action = "kill"', "event 1: peers", "write either peers"),
        ('action = "kill"\npeers = 1\nprobability = 0.1', "event 1: peers", "write either peers"),
        ('action = "kill"\npeers = 0', "event 1: peers", "must be 1 to 16"),
        ('action = "kill"\npeers = 17', "event 1: peers", "must be 1 to 16"),
        ('action = "kill"\npeers = true', "event 1: peers", "write a share"),
        ('action = "kill"\npeers = "half"', "event 1: peers", "write a share"),
        ('action = "kill"\npeers = "0%"', "event 1: peers", "write a share"),
        ('action = "kill"\npeers = "120%"', "event 1: peers", "write a share"),
        ('action = "kill"\npeers = []', "event 1: peers", "write a share"),
        ('action = "kill"\npeers = [16]', "event 1: peers", "numbered 0 to 15"),
        ('action = "kill"\nprobability = 0', "event 1: probability", "above 0"),
        ('action = "kill"\nprobability = 1.5', "event 1: probability", "at most 1"),
        ('action = "kill"\npeers = 1\niteration = 11', "event 1: iteration", "10 iterations only"),
        ('action = "kill"\npeers = 1\niteration = 0', "event 1: iteration", "at least 1"),
        ('action = "kill"\npeers = 1\niteration = "3"', "event 1: iteration", "write a whole number"),
        ('action = "kill"\npeers = 1\nuntil = 3', "event 1: until", "write every = 1"),
        ('action = "kill"\npeers = 1\niteration = 4\nevery = 1\nuntil = 3', "event 1: until", "at least 4"),
        ('action = "kill"\npeers = 1\nwhen = "later"', "event 1: when", "choose one of update"),
        ('action = "kill"\npeers = 1\nrestart_after_s = -1', "event 1: restart_after_s", "at least 0.0"),
        ('action = "kill"\npeers = 1\nrestart_after_s = "1"', "event 1: restart_after_s", "write a number"),
        ('action = "slow"\npeers = 1\nspeed = 1.0', "event 1: speed", "above 0.0 and below 1.0"),
        ('action = "pause"\npeers = 1\nfor_s = 0', "event 1: for_s", "above 0"),
        ('action = "kill"\npeers = 1\nfor_s = 1', "event 1: for_s", "is for pause, slow, not for kill"),
        ('action = "dropout"\npeers = 1\nwhen = "update"', "event 1: when", "not for dropout"),
        ('action = "kill"\npeer = 1', "event 1: peer", "did you mean peers"),
    ],
)
def test_mistake_is_named_with_its_place_and_remedy(tmp_path: Path, event: str, what: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        read(written(tmp_path, f"[[event]]\n{event}\n"))
    assert caught.value.what == f"plan.toml: {what}"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", r"write at least one \[\[event\]\]"),
        ("event = 3", r"write at least one \[\[event\]\]"),
        ("sead = 3", "did you mean seed"),
        ("seed = true\n[[event]]\naction='kill'\npeers=1", "write a whole number"),
        ("= 1", "is not valid TOML"),
    ],
)
def test_file_that_is_no_plan_is_refused(tmp_path: Path, text: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        read(written(tmp_path, text))


@pytest.mark.parametrize("text", ["no-such-file.toml", "murder:0.2", "kill:"])
def test_text_that_is_neither_file_nor_shorthand_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write such as kill:0\.2"):
        read(text)


@pytest.mark.parametrize("text", ["kill:0", "kill:1.5"])
def test_share_of_a_shorthand_is_checked(text: str) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        read(text)


def test_single_peer_has_no_churn() -> None:
    with pytest.raises(ConfigError, match="at least 2 peers"):
        read("kill:0.2", peers=1)
