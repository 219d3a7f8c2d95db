"""Before a swarm: what takes minutes of work on its data is done in the foreground, once, with progress to be seen.

Peers then find it done. The launcher itself must not hold what that takes in memory: a process of its own does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from marfl_peer.config import Settings

INTERRUPTED = 130


def encode_ahead(settings: Settings, environment: Mapping[str, str]) -> int:
    """`marfl-peer data check` of the run's data, where an encoder takes long. Returns its exit code: 0 if all is there,
    else it said why on stderr."""
    if settings.encoder == Settings().encoder:
        return 0
    # An empty settings file: what ./marfl.toml says is in `settings` already, or is not meant to be.
    flags = ["--config", os.devnull, "--task", settings.task, "--encoder", settings.encoder]
    if settings.data_dir is not None:
        flags += ["--data-dir", str(settings.data_dir)]
    command = (sys.executable, "-m", "marfl_peer", "data", "check", *flags)
    try:
        return abs(subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False).returncode)
    except KeyboardInterrupt:  # the same Ctrl+C has ended the process
        return INTERRUPTED
