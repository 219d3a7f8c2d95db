"""Children that only tell facts: an entry for the nursery with which the launcher is tested without torch.

`task` chooses what they do: "fake:steady"; "fake:crash" (child 1 kills itself in iteration 2); "fake:stuck" (child 1
neither ends nor leaves); "fake:doomed" (child 1 stays in iteration 1, which it begins when child 0 is there);
"fake:reborn" (so it does in its first life, and child 0 waits for its second); "fake:waiting" (all wait for SIGTERM and
leave); "fake:config" and "fake:bug" (refused).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal

from marfl_peer.errors import ConfigError
from marfl_peer.facts import (
    Evaluated,
    GroupFinished,
    IterationFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
    PeerStopped,
    ViewChanged,
)
from marfl_peer.lab.fact_stream import FactSender
from marfl_peer.lab.jobs import ChildMain, Job, Start


def prepare(job: Job) -> ChildMain:
    if job.settings.task == "fake:config":
        raise ConfigError("shards", job.settings.shards, "there are too few samples: use fewer shards")
    if job.settings.task == "fake:bug":
        raise ZeroDivisionError("a bug")
    return functools.partial(run, facts_path=job.facts_path)


def run(start: Start, *, facts_path: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(start.settings.state_dir.parent / "gate")
    print(f"child {start.index} lives", flush=True)
    return asyncio.run(live(start, facts_path))


async def live(start: Start, facts_path: str) -> int:
    what, index = start.settings.task, start.index
    asked = asyncio.Event()
    on_term = (lambda: None) if what == "fake:stuck" and index == 1 else asked.set
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_term)
    async with FactSender(facts_path, index) as tell:
        tell(started(start))
        tell(ViewChanged(iteration=1, digest="d", peers=start.settings.shards, grid=(2, 2), cell=index))
        if what in ("fake:doomed", "fake:reborn"):
            await meet_at_gate(start, tell)
        if what == "fake:waiting" or (what == "fake:stuck" and index == 1):
            await asked.wait()
            tell(PeerStopped(reason="left", iteration=0, detail=""))
            return 0
        for iteration in range(1, start.settings.iterations + 1):
            if what == "fake:crash" and index == 1 and iteration == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            for fact in one_iteration(iteration, index):
                tell(fact)
            await asyncio.sleep(0)
        tell(PeerStopped(reason="finished", iteration=start.settings.iterations, detail=""))
    return 0


async def meet_at_gate(start: Start, tell: FactSender) -> None:
    """Child 0 reads from a pipe until child 1 has opened it, in the life in which it is to."""
    folder, gate = start.settings.state_dir, start.settings.state_dir.parent / "gate"
    if start.index == 0:
        await asyncio.to_thread(gate.read_bytes)
        return
    is_first_life = (folder / "peer.log").read_text().count("lives") == 1
    if is_first_life == (start.settings.task == "fake:doomed"):
        await asyncio.to_thread(gate.write_bytes, b"")
    if is_first_life:
        tell(IterationStarted(iteration=1))
        await asyncio.Event().wait()


def started(start: Start) -> PeerStarted:
    settings = start.settings
    return PeerStarted(
        peer_id=f"{start.index:040x}",
        incarnation=1,
        run_id=settings.run_id,
        host=settings.host,
        port=settings.port,
        task=settings.task,
    )


def one_iteration(
    iteration: int, index: int
) -> tuple[LocalUpdateFinished, GroupFinished, IterationFinished, Evaluated]:
    return (
        LocalUpdateFinished(iteration=iteration, samples=10, batches=2, loss=1.0 / iteration, seconds=0.1),
        GroupFinished(
            iteration=iteration,
            round=1,
            line=index // 2,
            outcome="complete",
            attempts=1,
            members=("a", "b"),
            absent=0,
            seconds=0.1,
        ),
        IterationFinished(
            iteration=iteration,
            seconds=0.5,
            weight=10,
            projection=(1.0, 2.0),
            train_loss=1.0 / iteration,
            evaluated_iteration=None,
            test_accuracy=None,
            test_loss=None,
            groups_complete=1,
            groups_partial=0,
            peers=4,
            bytes_sent={"tensor": 1000, "control": 10},
            dht_lookups=1,
        ),
        Evaluated(iteration=iteration, correct=iteration * 2.0, seen=10, loss=0.5, scope="share"),
    )
