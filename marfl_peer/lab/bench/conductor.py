"""The bench's end of its child processes: starts them, lets all of a kind begin at once, hears when they were done.

Knows processes and lines; not what is measured, nor what becomes of the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from marfl_peer.config import Settings
from marfl_peer.errors import LocalProtocolError, MarflError
from marfl_peer.lab.bench.words import (
    MAX_LINE_BYTES,
    Answer,
    Arm,
    Done,
    Ended,
    Entered,
    Go,
    Hello,
    Order,
    Ready,
    Role,
    decode_answer,
    encode,
)
from marfl_peer.lab.jobs import Exited, Job, Refused, Started
from marfl_peer.lab.launcher import Launcher
from marfl_peer.lab.memory import Pss, sample_pss

ENTRY = "marfl_peer.lab.bench.child:prepare"
LOG = "peer.log"
PATIENCE_S = 300.0
"""For anything that must come: 125 processes start on two cores."""

Wanted = TypeVar("Wanted", bound=Answer)


class Member:
    """One child. `name` is for messages, such as "peer 3"."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.pid = 0
        """As soon as it is started"""
        self._streams: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()

    def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """It opened its line."""
        self._streams.set_result((reader, writer))

    def say(self, order: Order) -> None:
        """To one that came."""
        self._streams.result()[1].write(encode(order))

    async def hear(self, kind: type[Wanted]) -> Wanted:
        """Its next answer; never, if it ends: `Conductor.watch` tells that. Raises: LocalProtocolError."""
        reader, _ = await self._streams
        line = await reader.readline()
        if not line.endswith(b"\n"):
            await asyncio.Event().wait()
        answer = decode_answer(line)
        if not isinstance(answer, kind):
            raise LocalProtocolError(f"{self.name} says {type(answer).__name__} in place of {kind.__name__}")
        return answer

    async def enter(self, role: Role) -> Entered:
        """Tells it its role, as soon as it came."""
        await self._streams
        self.say(role)
        return await self.hear(Entered)

    def failure(self) -> MarflError:
        """That it ended, in the last words of its log."""
        log, words = self.settings.state_dir / LOG, [""]
        with contextlib.suppress(OSError):
            words += [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return MarflError(f"{self.name} ended too early: {words[-1]} (see {log})")

    def close(self) -> None:
        if self._streams.done() and not self._streams.cancelled():
            self._streams.result()[1].close()


class Conductor:
    """All children of a bench. Make it with `conducting`."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self.folder = folder
        self._launcher = launcher
        self._members: list[Member] = []

    def start(self, name: str, settings: Sequence[Settings]) -> list[Member]:
        """Starts a child for each of the settings, with a folder of its own in place of `state_dir`."""
        started = []
        for number, each in enumerate(settings):
            own = dataclasses.replace(each, state_dir=self.folder / f"{name}-{number:03d}")
            started.append(Member(f"{name} {number}", own))
            self._launcher.start(len(self._members), own)
            self._members.append(started[-1])
        return started

    async def enter(self, members: Sequence[Member], roles: Sequence[Role]) -> list[Entered]:
        """Tells all their roles at once; returns when all are connected with each other. Raises: MarflError."""
        pairs = zip(members, roles, strict=True)
        return await _all_in_time({member.name: member.enter(role) for member, role in pairs})

    async def measure(self, members: Sequence[Member], what: str = "", *, checked: bool = False) -> list[Done]:
        """Lets all average once: nobody begins before the others, nor goes on with a result. Raises: MarflError."""
        for member in members:
            member.say(Arm(what=what, checked=checked))
        steps: tuple[type[Ready | Ended], ...] = (Ready, Ended)
        for step in steps:
            await _all_in_time({member.name: member.hear(step) for member in members})
            for member in members:
                member.say(Go())
        return await _all_in_time({member.name: member.hear(Done) for member in members})

    async def memory(self, members: Sequence[Member]) -> Pss | None:
        """What they take now; None where the system does not tell."""
        return await asyncio.to_thread(sample_pss, [member.pid for member in members])

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A child opened its line."""
        hello = decode_answer(await reader.readline())
        if isinstance(hello, Hello):
            self._members[hello.index].came(reader, writer)

    async def watch(self) -> None:
        """Raises: MarflError as soon as a child ends, because none does while there is something to measure."""
        while True:
            match await self._launcher.next_report():
                case Started() as started:
                    self._members[started.index].pid = started.pid
                case Refused() as refused:
                    raise self._launcher.failure(refused)
                case Exited() as exited:
                    raise self._members[exited.index].failure()
                case None:
                    raise self._launcher.failure(None)
                case _:
                    pass

    def close(self) -> None:
        for member in self._members:
            member.close()


@contextlib.asynccontextmanager
async def conducting(run: Settings, *, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Conductor]:
    """A bench without children yet, in a temporary folder; at the end all children are ended and the folder is gone.

    Raises: MarflError, in a group, where children cannot be started or one ends; then the folder stays, with its logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="marfl-bench-"))
    socket = folder / "line"
    job = Job(entry=ENTRY, settings=run, facts_path=str(socket))
    is_to_stay = False
    try:
        async with Launcher(job, log=folder / "nursery.log", environment=environment) as launcher:
            conductor = Conductor(launcher, folder)
            async with await asyncio.start_unix_server(conductor.accept, socket, limit=MAX_LINE_BYTES):
                try:
                    async with asyncio.TaskGroup() as group:
                        watch = group.create_task(conductor.watch())
                        yield conductor
                        watch.cancel()
                finally:
                    conductor.close()
    except Exception:
        is_to_stay = True
        raise
    finally:
        if not is_to_stay:
            shutil.rmtree(folder, ignore_errors=True)


async def _all_in_time(answers: Mapping[str, Coroutine[object, object, Wanted]]) -> list[Wanted]:
    """By the names of who gives them. Raises: MarflError naming the first of those that took too long."""
    tasks: dict[str, asyncio.Task[Wanted]] = {}
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for name, answer in answers.items():
                tasks[name] = group.create_task(answer)
    except TimeoutError:
        late = [name for name, task in tasks.items() if task.cancelled()]
        raise MarflError(f"{late[0]} and {len(late) - 1} more did not answer within {PATIENCE_S:g} s") from None
    return [task.result() for task in tasks.values()]
