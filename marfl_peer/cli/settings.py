"""Where settings come from: flag > `MARFL_*` environment variable > `marfl.toml` > default.

Knows names, origins and how values are written; what a value may be is `config`'s business. Reads the one
file, and neither the process's environment nor its directory: both are arguments.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.config import KINDS, Kind, Settings
from marfl_peer.errors import ConfigError

CONFIG_FILE = "marfl.toml"
PREFIX = "MARFL_"
DEFAULT_PEERS = 16
HINT = "marfl-peer join --help lists the settings"
_SWITCH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_LAUNCH_KINDS: Mapping[str, Kind] = {**KINDS, "peers": Kind.WHOLE}
"""Settings, and what only `swarm` is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value somebody gave, and where, in the words that an error shows."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a command works with. `stated` names what somebody gave."""

    settings: Settings
    stated: frozenset[str]
    peers: int


def read_settings(
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    directory: Path,
    config_file: Path | None = None,
) -> Chosen:
    """The settings from all sources, each checked.

    `flags` holds setting names with texts, booleans or tuples of texts; None and () stand for "not given".
    `config_file` is what `--config` names; without it `MARFL_CONFIG`, then `marfl.toml` in `directory` if it
    is there. A relative path in the file starts from the file's folder.

    Raises: ConfigError for an unknown name, an unreadable file, or a value that cannot be, naming its origin.
    """
    named = _from_environment(environment)
    config = named.pop("config", None)
    if config_file is None and config is not None:
        config_file = directory / str(config.value)
    given = _from_file(config_file, directory, environment) | named | _from_flags(flags)
    stated = frozenset(given)
    peers = given.pop("peers", Given(value=DEFAULT_PEERS, origin="--peers"))
    if not isinstance(peers.value, int) or peers.value < 1:
        raise ConfigError(peers.origin, peers.value, "must be at least 1")
    return Chosen(settings=_checked(given), stated=stated, peers=peers.value)


def flag_of(name: str) -> str:
    """`--group-size` for `group_size`."""
    return "--" + name.replace("_", "-")


def _checked(given: Mapping[str, Given]) -> Settings:
    try:
        return Settings().adopt({name: item.value for name, item in given.items()})
    except ConfigError as error:
        guilty = given.get(error.what.replace("-", "_"))
        if guilty is None:
            raise
        raise ConfigError(guilty.origin, error.value, error.remedy) from None


def _from_flags(flags: Mapping[str, object]) -> dict[str, Given]:
    given = {}
    for name, value in flags.items():
        if value is None or value == ():
            continue
        origin = flag_of(name)
        if isinstance(value, tuple):
            value = " ".join(str(part) for part in value)
        if isinstance(value, str):
            value = _from_text(_LAUNCH_KINDS[name], value, origin)
        given[name] = Given(value=value, origin=origin)
    return given


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    given = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        name = variable[len(PREFIX) :].lower()
        if variable != variable.upper() or (name not in _LAUNCH_KINDS and name != "config"):
            nearest = _nearest(name, (*_LAUNCH_KINDS, "config"))
            hint = f"did you mean {PREFIX}{nearest.upper()}?" if nearest else HINT
            raise ConfigError(variable, None, f"unknown environment variable; {hint}")
        if text == "":  # compose files pass `${NAME:-}` for what nobody set
            continue
        value = text if name == "config" else _from_text(_LAUNCH_KINDS[name], text, variable)
        given[name] = Given(value=value, origin=variable)
    return given


def _from_file(config_file: Path | None, directory: Path, environment: Mapping[str, str]) -> dict[str, Given]:
    path = config_file if config_file is not None else directory / CONFIG_FILE
    if config_file is None and not path.exists():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOML errors, bytes that are not UTF-8, integers of thousands of digits
        raise ConfigError(str(path), None, f"is not valid TOML: {error}") from None
    given = {}
    for name, value in table.items():
        origin = f"{path.name}: {name}"
        if name not in _LAUNCH_KINDS:
            nearest = _nearest(name.replace("-", "_"), tuple(_LAUNCH_KINDS))
            hint = f"did you mean {nearest}?" if nearest else HINT
            raise ConfigError(origin, None, f"unknown key; {hint}")
        value = _from_toml(_LAUNCH_KINDS[name], value, origin)
        if isinstance(value, Path):
            value = path.parent / _expanded(value, environment)
        given[name] = Given(value=value, origin=origin)
    return given


def _expanded(path: Path, environment: Mapping[str, str]) -> Path:
    # A shell expands `~` in flags and environment; nobody does in a file.
    if path.parts[:1] == ("~",) and environment.get("HOME"):
        return Path(environment["HOME"], *path.parts[1:])
    return path


def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), None)


def _from_text(kind: Kind, text: str, origin: str) -> object:
    """The value that a flag or an environment variable spells. Raises: ConfigError."""
    text = text.strip()
    match kind:
        case Kind.WHOLE if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return int(text)
        case Kind.NUMBER if re.fullmatch(r"[+-]?[0-9.]{1,40}([eE][+-]?[0-9]{1,3})?", text):
            try:
                return float(text)
            except ValueError:
                pass
        case Kind.SWITCH if text.lower() in _SWITCH:
            return _SWITCH[text.lower()]
        case Kind.PATH if text:
            return Path(text)
        case Kind.TEXTS:
            return tuple(part for part in re.split(r"[,\s]+", text) if part)
        case Kind.TEXT:
            return text
    raise ConfigError(origin, text, kind.value)


def _from_toml(kind: Kind, value: object, origin: str) -> object:
    """The value that TOML's own types spell: no number in quotation marks. Raises: ConfigError."""
    match kind, value:
        case (Kind.SWITCH, bool()) | (Kind.TEXT, str()):
            return value
        case ((Kind.WHOLE | Kind.NUMBER), bool()):
            pass
        case Kind.WHOLE, int():
            return value
        case Kind.NUMBER, float():
            return value
        case Kind.NUMBER, int() if abs(value) < 2**63:
            return float(value)
        case ((Kind.PATH | Kind.TEXTS), str()):
            return _from_text(kind, value, origin)
        case Kind.TEXTS, list() if all(isinstance(part, str) for part in value):
            return tuple(value)
    raise ConfigError(origin, str(value), kind.value)
