"""How a churn plan is written: a TOML file, or a shorthand such as kill:0.2. Every mistake is named with its remedy."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TypeVar

from marfl_peer.errors import ConfigError
from marfl_peer.lab.churn.plan import (
    DEFAULT_SPEED,
    Action,
    Chance,
    Choice,
    ChurnPlan,
    Count,
    Event,
    Listed,
    Moment,
    Share,
)

Word = TypeVar("Word", bound=Enum)

STRIKES = (Action.KILL, Action.PAUSE, Action.SLOW)
KEYS: Mapping[str, Sequence[Action]] = {
    "action": tuple(Action),
    "iteration": tuple(Action),
    "every": tuple(Action),
    "until": tuple(Action),
    "peers": tuple(Action),
    "probability": tuple(Action),
    "when": STRIKES,
    "restart_after_s": (Action.KILL,),
    "for_s": (Action.PAUSE, Action.SLOW),
    "speed": (Action.SLOW,),
}
"""The keys of an event, and the actions that know them."""
SHORTHAND = re.compile(r"(kill|dropout|pause|slow):([0-9]*\.?[0-9]+)")
SHORTHAND_RESTART_S = 0.5
SHORTHAND_PAUSE_S = 2.0


def read_plan(text: str, *, seed: int, peers: int, iterations: int) -> ChurnPlan:
    """The plan that `--churn` names, for a run of so many peers and iterations. `seed`: where the plan has none.

    Raises: ConfigError for a plan that cannot be read, is not well formed, or does not fit the run.
    """
    if peers < 2:
        raise ConfigError("churn", text, "needs at least 2 peers: one is always left in peace")
    short = SHORTHAND.fullmatch(text)
    if short is not None:
        event = _short_event(text, Action(short[1]), float(short[2]))
        return ChurnPlan(seed=seed, events=(event,), written=text)
    path = Path(text)
    table = _table(path)
    _known(table, ("seed", "event"), path.name)
    events = table.get("event")
    if not isinstance(events, list) or not events or not all(isinstance(event, dict) for event in events):
        raise ConfigError(f"{path.name}: event", None, "write at least one [[event]]")
    seed = _Reader(path.name, table).whole("seed", 0, seed)
    return ChurnPlan(
        seed=seed,
        events=tuple(
            _event(_Reader(f"{path.name}: event {number}", event), peers, iterations)
            for number, event in enumerate(events, 1)
        ),
        written=text,
    )


def _table(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = f"cannot be read ({error.strerror}): name a TOML file, or write such as kill:0.2 or dropout:0.2"
        raise ConfigError("churn", str(path), remedy) from None
    except ValueError as error:
        raise ConfigError(str(path), None, f"is not valid TOML: {error}") from None


def _short_event(text: str, action: Action, share: float) -> Event:
    """Of every iteration; slow ones are slow from the first to the last."""
    if not 0 < share <= 1:
        raise ConfigError("churn", text, "the share must be above 0 and at most 1")
    match action:
        case Action.KILL:
            return Event(action=action, peers=Share(share), every=1, restart_after_s=SHORTHAND_RESTART_S)
        case Action.PAUSE:
            return Event(action=action, peers=Share(share), every=1, for_s=SHORTHAND_PAUSE_S)
        case Action.SLOW:
            return Event(action=action, peers=Share(share), when=Moment.UPDATE)
        case _:
            return Event(action=action, peers=Chance(share), every=1)


def _event(reader: _Reader, peers: int, iterations: int) -> Event:
    reader.known()
    action = reader.word("action", Action)
    for key in reader.table:
        if action not in KEYS[key]:
            others = ", ".join(other.value for other in KEYS[key])
            raise ConfigError(f"{reader.where}: {key}", reader.table[key], f"is for {others}, not for {action.value}")
    iteration = reader.whole("iteration", 1, 1)
    if iteration > iterations:
        raise ConfigError(f"{reader.where}: iteration", iteration, f"the run has {iterations} iterations only")
    every = reader.whole("every", 1, 0) or None
    until = reader.whole("until", iteration, 0) or None
    if until is not None and every is None:
        raise ConfigError(f"{reader.where}: until", until, "is for repeated events: write every = 1, too")
    return Event(
        action=action,
        peers=reader.choice(peers),
        iteration=iteration,
        every=every,
        until=until,
        when=reader.word("when", Moment, Moment.AGGREGATION),
        restart_after_s=reader.number("restart_after_s", least=0.0),
        for_s=reader.number("for_s", above=0.0),
        speed=reader.number("speed", above=0.0, below=1.0) or DEFAULT_SPEED,
    )


class _Reader:
    """One table of the file. `where` is how errors name it."""

    def __init__(self, where: str, table: Mapping[str, object]) -> None:
        self.where, self.table = where, table

    def known(self) -> None:
        _known(self.table, tuple(KEYS), self.where)

    def refuse(self, key: str, remedy: str) -> ConfigError:
        value = self.table.get(key)
        return ConfigError(f"{self.where}: {key}", None if value is None else str(value), remedy)

    def whole(self, key: str, least: int, default: int) -> int:
        value = self.table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(key, "write a whole number")
        if key in self.table and value < least:
            raise self.refuse(key, f"must be at least {least}")
        return value

    def number(
        self, key: str, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
    ) -> float | None:
        value = self.table.get(key)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.refuse(key, "write a number")
        if not (value >= least and value > above and value < below):
            bounds = ((least, "at least"), (above, "above"), (below, "below"))
            said = " and ".join(f"{word} {bound}" for bound, word in bounds if math.isfinite(bound))
            raise self.refuse(key, f"must be {said}")
        return float(value)

    def word(self, key: str, words: type[Word], default: Word | None = None) -> Word:
        value = self.table.get(key)
        if value is None and default is not None:
            return default
        try:
            return words(value)
        except ValueError:
            choices = ", ".join(str(item.value) for item in words)
            raise self.refuse(key, f"choose one of {choices}") from None

    def choice(self, peers: int) -> Choice:
        value = self.table.get("peers")
        probability = self.number("probability", above=0.0)
        if (value is None) == (probability is None):
            raise self.refuse("peers", 'write either peers, as in "20%", 2 or [1, 4], or probability, as in 0.2')
        if probability is not None:
            if probability > 1:
                raise self.refuse("probability", "must be at most 1")
            return Chance(probability)
        match value:
            case bool():
                pass
            case int() if 1 <= value <= peers:
                return Count(value)
            case int():
                raise self.refuse("peers", f"must be 1 to {peers}, the peers of the run")
            case str() if (percent := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%", value)) is not None:
                if 0 < float(percent[1]) <= 100:
                    return Share(float(percent[1]) / 100)
            case list() if value and all(isinstance(index, int) and not isinstance(index, bool) for index in value):
                strangers = [index for index in value if not 0 <= index < peers]
                if strangers:
                    raise self.refuse("peers", f"peers are numbered 0 to {peers - 1} in this run")
                return Listed(tuple(sorted(set(value))))
        raise self.refuse("peers", 'write a share as in "20%", a number as in 2, or a list as in [1, 4]')


def _known(table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: {key}", None, f"unknown key; {hint}")
