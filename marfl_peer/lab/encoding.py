"""Before peers start: what takes minutes of work on their data is done first, once, with progress to be seen.

Peers then find it done. Neither a launcher nor a peer should hold what that takes in memory, and both must go on
hearing signals: a process of its own does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping

from marfl_peer.config import Settings


async def encode_ahead(settings: Settings, environment: Mapping[str, str]) -> int:
    """`marfl-peer data check` of the run's data, where an encoder may take long. Returns its exit code: 0 if all is
    there, else it said why on stderr. Who cancels this ends the work."""
    if settings.encoder == Settings().encoder:
        return 0
    # An empty settings file: what ./marfl.toml says is in `settings` already, or is not meant to be.
    flags = ["--config", os.devnull, "--task", settings.task, "--encoder", settings.encoder]
    if settings.data_dir is not None:
        flags += ["--data-dir", str(settings.data_dir)]
    command = (sys.executable, "-m", "marfl_peer", "data", "check", *flags)
    # uvloop takes nothing but a dict.
    own = dict(environment)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, env=own)
    try:
        return abs(await process.wait())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
