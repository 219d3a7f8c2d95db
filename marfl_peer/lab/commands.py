"""The command that starts a run again, from its settings: what is left at its default is left out. Pure."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator

from marfl_peer.config import KINDS, Kind, Settings

PLACES = ("state_dir",)
"""Where a run leaves its files is no part of what it is."""


def swarm_command(settings: Settings, peers: int, churn: str = "") -> str:
    """Of `marfl-peer swarm`. `churn`: the plan as the user named it."""
    words = ["marfl-peer", "swarm", "--peers", str(peers), *_flags(settings, peers)]
    return shlex.join([*words, *(["--churn", churn] if churn else [])])


def _flags(settings: Settings, peers: int) -> Iterator[str]:
    default = dataclasses.replace(Settings(), shards=peers)  # `swarm` cuts as many as there are peers
    for name, kind in KINDS.items():
        value = getattr(settings, name)
        if value == getattr(default, name) or name in PLACES:
            continue
        flag = name.replace("_", "-")
        match kind:
            case Kind.SWITCH:
                yield f"--{flag}" if value else f"--no-{flag}"
            case Kind.TEXTS:
                for text in value:
                    yield from (f"--{flag}", text)
            case _:
                yield from (f"--{flag}", str(value))
