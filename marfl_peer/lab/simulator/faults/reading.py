"""A plan of faults from a TOML file: one table `[[fault]]` each, with what happens, to whom, and when.

What a fault needs is read off its class in `plan`: nothing is said twice.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.faults.plan import ANYONE, Action, Fault, Hold, Hosts, Part, Plan, Role, Share, Who
from marfl_peer.lab.simulator.faults.triggers import ANY, FACTS, MESSAGES, At, Direction, Edge, OnFact, OnFrame, Trigger
from marfl_peer.lab.simulator.scenario import BOOTSTRAP_PEERS

KINDS: Mapping[str, type[Action]] = {kind.__name__.lower(): kind for kind in get_args(Action)}
ROLES = get_args(Part)
WHEN = ("at_s", "sends", "receives", "tells")
COUNTED = ("iteration", "nth", "edge")
WHOM = f'write indices such as [0, 3], a share such as "50%", "bootstrap" or a role: {", ".join(ROLES)}'


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises: ConfigError naming file, key, value and remedy."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(path), None, f"is not valid TOML: {error}") from None
    for key in document:
        if key != "fault":
            raise ConfigError(f"{path.name}: {key}", None, "unknown key; faults are tables [[fault]]")
    tables = document.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path.name}: fault", None, "write each fault as a table [[fault]]")
    return Plan(faults=tuple(_Table(path.name, number, table).fault() for number, table in enumerate(tables, 1)))


class _Table:
    """One table of the file, and where it stands."""

    def __init__(self, file: str, number: int, table: Mapping[str, object]) -> None:
        self._where, self._table = f"{file}: fault {number}", table

    def fault(self) -> Fault:
        kind = KINDS[self._named("what", tuple(KINDS))]
        fields = {item.name: item for item in dataclasses.fields(kind)}
        self._refuse_others((*fields, "what", "peers", *WHEN, *COUNTED))
        hints = typing.get_type_hints(kind)
        given = {name: self._value(name, hints[name]) for name in fields if name in self._table}
        for name, item in fields.items():
            if name not in given and item.default is dataclasses.MISSING:
                raise self._error(name, None, f"is missing: {kind.__name__.lower()} needs it")
        when = self._when()
        if kind is Hold and not (isinstance(when, OnFrame) and when.direction == "sends"):
            raise self._error("what", "hold", "holds the connection of a frame: say which with sends = MESSAGE")
        return Fault(what=kind(**given), who=self._who("peers") if "peers" in self._table else ANYONE, when=when)

    def _refuse_others(self, known: Sequence[str]) -> None:
        for key in self._table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
                raise self._error(key, None, f"unknown key; {hint}")

    def _when(self) -> Trigger:
        given = [key for key in WHEN if key in self._table]
        if len(given) != 1:
            raise self._error("at_s", None, f"say when with one of {', '.join(WHEN)}")
        key = given[0]
        if key == "at_s":
            for other in COUNTED:
                if other in self._table:
                    raise self._error(other, self._table[other], "does not go with at_s: it counts messages and facts")
            return At(time_s=self._value("at_s", float))
        iteration = self._value("iteration", int) if "iteration" in self._table else None
        nth = self._value("nth", int) if "nth" in self._table else 1
        if nth < 1:
            raise self._error("nth", nth, "is counted from 1")
        if key == "tells":
            if "edge" in self._table:
                raise self._error("edge", self._table["edge"], "goes with sends and receives")
            return OnFact(fact=self._named("tells", FACTS), iteration=iteration, nth=nth)
        direction: Direction = "sends" if key == "sends" else "receives"
        edge: Edge = self._value("edge", Edge) if "edge" in self._table else "after"
        message = self._named(key, (*MESSAGES, ANY))
        return OnFrame(direction=direction, message=message, iteration=iteration, nth=nth, edge=edge)

    def _who(self, key: str) -> Who:
        value = self._table[key]
        if isinstance(value, str) and value in ROLES:
            return Role(value)  # type: ignore[arg-type]  # one of its literals
        if value == "bootstrap":
            return Hosts(tuple(range(BOOTSTRAP_PEERS)))
        if isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%", value)):
            share = float(match[1]) / 100
            if 0 < share <= 1:
                return Share(share)
        elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return Hosts((value,))
        elif isinstance(value, list):
            return self._hosts(key, value)
        raise self._error(key, value, WHOM)

    def _hosts(self, key: str, value: Sequence[object]) -> Hosts:
        indices = [index for index in value if isinstance(index, int) and not isinstance(index, bool) and index >= 0]
        if not value or len(indices) != len(value):
            raise self._error(key, value, "write a list of peers, counted from 0, such as [0, 3]")
        return Hosts(tuple(sorted(set(indices))))

    def _named(self, key: str, choices: Sequence[str]) -> str:
        value = self._table.get(key)
        if isinstance(value, str) and value in choices:
            return value
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise self._error(key, value, f"{hint}choose one of {', '.join(choices)}")

    def _value(self, key: str, hint: Any) -> Any:
        """The value as its field wants it: numbers are no texts, and none is negative but a clock's."""
        value = self._table[key]
        if isinstance(hint, types.UnionType):
            hint = next(part for part in get_args(hint) if part is not types.NoneType)
        if typing.get_origin(hint) is Literal:
            return self._named(key, get_args(hint))
        if hint is Hosts:
            if not isinstance(value, list):
                raise self._error(key, value, "write a list of peers, counted from 0, such as [0, 3]")
            return self._hosts(key, value)
        if hint is bool:
            if not isinstance(value, bool):
                raise self._error(key, value, "write true or false")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float if hint is float else int):
            raise self._error(key, value, "write a number" if hint is float else "write a whole number")
        if value < 0 and key not in ("drift", "step_s"):
            raise self._error(key, value, "must not be negative")
        if key in ("factor", "bytes_per_s", "count") and value <= 0:
            raise self._error(key, value, "must be more than 0")
        if (key in ("loss", "duplication") and value >= 1) or (key == "share" and value > 1):
            raise self._error(key, value, "is a probability: write less than 1")
        if key == "drift" and value <= -1:
            raise self._error(key, value, "no clock runs backwards: write more than -1")
        return hint(value)

    def _error(self, key: str, value: object, remedy: str) -> ConfigError:
        return ConfigError(f"{self._where}: {key}", value, remedy)
