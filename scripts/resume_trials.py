"""Kills one peer of a small swarm with SIGKILL at seeded moments, again and again, and starts it again in its folder.

python scripts/resume_trials.py --kills 200 --seed 1
After every kill its folder is read from outside: the state in it must be complete, and no older than the one before.
The next life must start from that very state. Exits with 0 only if all of that held every time.

The peers are forked by a fork server, so that a life begins in milliseconds. Moments are drawn: while it starts, right
behind an iteration (when the state is written), or anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.facts import AnyFact, IterationFinished, PeerStarted, RemoteFault, StateRejected, StateResumed
from marfl_peer.lab.fact_stream import FactServer
from marfl_peer.lab.jobs import Exited, Job, Ready, Started
from marfl_peer.lab.launcher import Launcher
from marfl_peer.lab.plan import HOST, peer_settings
from marfl_peer.lab.ports import free_ports
from marfl_peer.lab.swarm import PEER_ENTRY
from marfl_peer.network.identity import INCARNATION_FILE
from marfl_peer.peer.store import load_state

PEERS, VICTIM = 3, 2
LIFE_LIMIT_S = 60.0
"""A life that has finished no iteration by then has failed."""
SHOWN = 10


class Moment(Enum):
    """When a life ends: so long after what."""

    STARTING = "while it starts"
    SAVING = "as it saves"
    ANYWHERE = "anywhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """The life ends `delay_s` after it started, or after it finished its iteration number `after` of this life."""

    moment: Moment
    after: int
    delay_s: float


def plan_blow(rng: random.Random) -> Blow:
    """Half of the blows fall on a peer that writes its state."""
    moment = rng.choice((Moment.STARTING, Moment.ANYWHERE, Moment.SAVING, Moment.SAVING))
    match moment:
        case Moment.STARTING:
            return Blow(moment=moment, after=0, delay_s=rng.uniform(0.0, 0.4))
        case Moment.ANYWHERE:
            return Blow(moment=moment, after=1, delay_s=rng.uniform(0.0, 0.3))
    return Blow(moment=moment, after=rng.randint(1, 3), delay_s=rng.uniform(0.0, 0.008))


@dataclass(slots=True)
class Findings:
    """What the lives of the victim showed. `complaints` must stay empty."""

    complaints: list[str] = field(default_factory=list)
    moments: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    cut_short: int = 0
    """Lives that ended before they could say what they start from."""
    drafts: int = 0
    """Kills in the middle of a write: a draft was left behind."""
    iteration: int = 0
    """Of the state on disk."""
    incarnation: int = 0

    def look(self, kill: int, folder: Path) -> None:
        """Reads the folder of a peer that was just killed."""
        self.drafts += any(folder.glob("*.new"))
        incarnation = int((folder / INCARNATION_FILE).read_text()) if (folder / INCARNATION_FILE).exists() else 0
        if incarnation < self.incarnation:
            self.complaints.append(f"kill {kill}: incarnation {incarnation} after {self.incarnation}")
        self.incarnation = incarnation
        if not self.iteration and not (folder / "state.json").exists():
            return  # killed before it ever finished an iteration
        try:
            _, manifest = load_state(folder)
        except ConfigError as error:
            self.complaints.append(f"kill {kill}: {error}")
            return
        if manifest.iteration < self.iteration:
            self.complaints.append(f"kill {kill}: state of iteration {manifest.iteration} after {self.iteration}")
        self.iteration = manifest.iteration

    def begins(self, kill: int, fact: StateResumed | StateRejected) -> None:
        """A life says what it starts from."""
        if isinstance(fact, StateRejected):
            self.complaints.append(f"life {kill}: {fact.reason}: {fact.detail}")
        elif fact.iteration != self.iteration:
            self.complaints.append(f"life {kill}: starts from iteration {fact.iteration}, not {self.iteration}")
        else:
            self.resumed += 1


class Trials:
    """A swarm that goes on while one of its peers is killed and started again."""

    def __init__(self, folder: Path, *, kills: int, seed: int, tell: Callable[[str], None]) -> None:
        self._folder, self._kills, self._tell = folder, kills, tell
        self._rng = random.Random(seed)
        self._run = Settings(
            task="digits",
            iterations=1_000_000,
            seed=seed,
            local_steps=2,
            evaluate_every=10,
            shards=PEERS,
            run_id=folder.name,
            wait_timeout_s=20.0,
        )
        ports = free_ports(PEERS, host=HOST, rng=random.Random())
        self._settings = [peer_settings(self._run, index, ports=ports, folder=folder) for index in range(PEERS)]
        self.findings = Findings()
        self._pids: dict[int, int] = {}
        self._finished: Counter[int] = Counter()
        """Iterations by peer; the victim's in its present life."""
        self._sketches: dict[int, dict[int, tuple[float, ...]]] = {}
        self._has_begun = False
        self._life = 0
        self._news = asyncio.Event()

    async def run(self) -> Findings:
        """Raises: TimeoutError where a life finishes nothing."""
        with tempfile.TemporaryDirectory(prefix="marfl-") as short_path:
            socket = Path(short_path) / "facts"
            job = Job(entry=PEER_ENTRY, settings=self._run, facts_path=str(socket))
            async with (
                FactServer(socket, self._heard),
                Launcher(job, log=self._folder / "nursery.log", environment=os.environ) as launcher,
                asyncio.TaskGroup() as tasks,
            ):
                reader = tasks.create_task(self._read(launcher))
                await self._kill_again_and_again(launcher)
                reader.cancel()
        return self.findings

    async def _kill_again_and_again(self, launcher: Launcher) -> None:
        await self._until(lambda: -1 in self._pids)
        for index in range(PEERS):
            launcher.start(index, self._settings[index])
        await self._until(lambda: all(self._finished[index] >= 3 for index in range(PEERS)))
        self._has_begun = True
        for kill in range(1, self._kills + 1):
            blow = plan_blow(self._rng)
            await self._until(lambda: VICTIM in self._pids)
            goal = self._finished[VICTIM] + blow.after
            await self._until(partial(self._has_finished, goal))
            await asyncio.sleep(blow.delay_s)
            os.kill(self._pids[VICTIM], signal.SIGKILL)
            await self._until(lambda: VICTIM not in self._pids)
            self.findings.moments[blow.moment.value] += 1
            self.findings.cut_short += not self._has_begun
            self.findings.look(kill, self._settings[VICTIM].state_dir)
            self._life, self._has_begun = kill, False
            self._finished[VICTIM] = 0
            if kill % 20 == 0:
                self._tell(f"{kill:>5} kills: iteration {self.findings.iteration} on disk")
            launcher.start(VICTIM, self._settings[VICTIM])
        await self._until(lambda: self._has_begun and self._finished[VICTIM] >= 3)

    async def _read(self, launcher: Launcher) -> None:
        while True:
            match await launcher.next_report():
                case Ready():
                    self._pids[-1] = launcher.pid
                case Started(index=index, pid=pid):
                    self._pids[index] = pid
                case Exited(index=index, code=code):
                    del self._pids[index]
                    if code is not None or index != VICTIM:
                        self.findings.complaints.append(f"peer {index} ended by itself with code {code}")
                case _:
                    raise RuntimeError(f"the fork server ended: see {self._folder / 'nursery.log'}")
            self._news.set()

    def _has_finished(self, iterations: int) -> bool:
        return self._finished[VICTIM] >= iterations

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIFE_LIMIT_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    def _heard(self, index: int, fact: AnyFact) -> None:
        if index == VICTIM and isinstance(fact, StateResumed | StateRejected):
            self._has_begun = True
            self.findings.begins(self._life, fact)
        match fact:
            case IterationFinished():
                self._finished[index] += 1
                self._compare(index, fact)
            case RemoteFault():
                self.findings.complaints.append(f"peer {index}: {fact.code} of {fact.remote[:8]}: {fact.detail}")
            case PeerStarted() if index == VICTIM:
                self._finished[index] = 0
        self._news.set()

    def _compare(self, index: int, fact: IterationFinished) -> None:
        """Who finished an iteration with all the others holds what they hold."""
        if fact.peers < PEERS or fact.groups_partial:
            return
        sketches = self._sketches.setdefault(fact.iteration, {})
        sketches[index] = fact.projection
        if len(set(sketches.values())) > 1:
            self.findings.complaints.append(f"iteration {fact.iteration}: peer {index} holds another state")
        for old in [iteration for iteration in self._sketches if iteration < fact.iteration - 50]:
            del self._sketches[old]


def report(findings: Findings, seconds: float) -> list[str]:
    """The table and the verdict."""
    rows = [f"{'killed ' + moment:28} {count:>6}" for moment, count in sorted(findings.moments.items())]
    rows += [
        f"{'in the middle of a write':28} {findings.drafts:>6}",
        f"{'lives that resumed':28} {findings.resumed:>6}",
        f"{'lives that ended before that':28} {findings.cut_short:>6}",
        f"{'iteration on disk at the end':28} {findings.iteration:>6}",
        f"{'seconds':28} {seconds:>6.0f}",
    ]
    rows += [f"  {complaint}" for complaint in findings.complaints[:SHOWN]]
    verdict = "FAILED" if findings.complaints else "held"
    return [*rows, f"{sum(findings.moments.values())} kills: {verdict}, {len(findings.complaints)} complaints"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="kill -9 of one peer, again and again; it must resume every time")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the peers' folders below this one")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="resume-") as temporary:
        folder = (options.keep or Path(temporary)) / f"resume-{options.seed}"
        folder.mkdir(parents=True)
        trials = Trials(folder, kills=options.kills, seed=options.seed, tell=lambda line: print(line, flush=True))
        began = time.monotonic()
        try:
            findings = asyncio.run(trials.run())
        except* TimeoutError:
            findings = trials.findings
            findings.complaints.append(f"a life finished nothing within {LIFE_LIMIT_S:.0f} s")
    print("\n".join(report(findings, time.monotonic() - began)))
    return 1 if findings.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
