"""The launcher's end of a nursery: starts the fork server, tells it what to do, hears what became of it.

Knows processes and pipes; decides nothing about when a child starts, ends or counts as lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError, MarflError
from marfl_peer.lab.jobs import Job, Refused, Report, Signal, Start, decode_report, encode

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""Each further heap would keep its own freed memory, in every one of many peers."""
CLOSING_S = 15.0


class Launcher:
    """A nursery process and the pipes to it, as an async context manager; on exit nothing of it is left
    running.

    `log` takes the nursery's stderr; each child writes its own peer.log. The nursery runs in a session of its
    own: a Ctrl+C at the terminal reaches the launcher alone, which then decides.
    """

    def __init__(self, job: Job, *, log: Path, environment: Mapping[str, str]) -> None:
        self._job = job
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "marfl_peer.lab.nursery"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**ONE_ARENA, **self._environment, **ONE_THREAD},
                start_new_session=True,
            )
        self._write(encode(self._job))
        return self

    def start(self, index: int, settings: Settings) -> None:
        """Asks for a child; `Started` and `Exited` tell what became of it."""
        self._write(encode(Start(index=index, settings=settings)))

    def signal(self, index: int, number: int) -> None:
        self._write(encode(Signal(index=index, number=number)))

    async def next_report(self) -> Report | None:
        """The next report; None when the nursery has ended, and every child with it."""
        assert self._process is not None and self._process.stdout is not None
        line = await self._process.stdout.readline()
        return decode_report(line) if line.endswith(b"\n") else None

    def failure(self, refused: Refused | None) -> MarflError:
        """The error to raise for a job that was refused, or (None) for a nursery that ended by itself."""
        if refused is not None and refused.config:
            return ConfigError(refused.what, refused.value, refused.remedy)
        what = "the fork server ended" if refused is None else refused.what
        return MarflError(f"the peers could not be started: {what} (see {self._log})")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _write(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()  # the nursery takes that as: end your children, then yourself
        try:
            async with asyncio.timeout(CLOSING_S):
                while await self.next_report() is not None:
                    pass
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the nursery and its children, nobody else
            await process.wait()
