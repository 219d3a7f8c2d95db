"""What each peer of a local swarm is told: the run's settings with an address, a shard and a folder of its
own.

Pure but for the folder it makes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.baselines.registry import scheme_of
from marfl_peer.protocol.hashed import with_buckets

HOST = "127.0.0.1"
BOOTSTRAP_PEERS = 3


def run_settings(settings: Settings, peers: int) -> Settings:
    """The settings of the run as N local peers share them: each owns one shard, more stay for who joins
    later; where placement is hashed there are as many groups as N peers fill.

    Raises: ConfigError for no peers, for fewer shards than peers, or for more than their scheme can do with.
    """
    if peers < 1:
        raise ConfigError("peers", peers, "must be at least 1")
    if settings.shards < peers:
        raise ConfigError("shards", settings.shards, f"must be at least {peers}, the number of peers")
    scheme_of(settings, peers=peers)
    return with_buckets(dataclasses.replace(settings, shard=None), peers)


def peer_settings(run: Settings, index: int, *, ports: Sequence[int], folder: Path) -> Settings:
    """Those of peer `index` of len(ports) peers: all start from the first few, nobody else has a role.

    Peer i serves its metrics at `metrics_port` + i, if that is set.
    """
    return dataclasses.replace(
        run,
        host=HOST,
        port=ports[index],
        bootstrap=tuple(f"{HOST}:{port}" for port in ports[:BOOTSTRAP_PEERS] if port != ports[index]),
        lan=False,
        wait_for=len(ports),
        shard=f"{index}/{run.shards}",
        metrics_port=run.metrics_port + index if run.metrics_port else run.metrics_port,
        state_dir=folder / peer_name(index),
    )


def peer_name(index: int) -> str:
    """Of the peer's folder, such as peer-007."""
    return f"peer-{index:03d}"


def make_folder(state_dir: Path, run_id: str, *, at: datetime) -> Path:
    """A new folder below the state directory for the peers of this run: state_dir/RUN_ID-YYYYMMDD-HHMMSS.

    Raises: ConfigError when it cannot be made.
    """
    name = f"{run_id}-{at:%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = (state_dir / (name + suffix)).absolute()
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError("state-dir", str(state_dir), f"cannot be written ({error.strerror})") from error
        return folder
    raise ConfigError("state-dir", str(state_dir), "holds too many runs of this second: wait a moment")
