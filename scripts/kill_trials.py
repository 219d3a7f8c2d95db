"""Kills 3 of 16 peers with SIGKILL, in every phase of their lives, lets a 17th join, and judges what the others did.

python scripts/kill_trials.py --trials 20 --seed 1
prints a row a trial and exits with 0 only if all that must hold held in every one of them.

The 16 are ordinary peers, forked by a fork server; the 17th is `marfl-peer join --bootstrap`. Moments are chosen by
seed: a phase of a victim in some iteration, and a delay; what a victim was doing when it died is read from its journal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kill_verdict import Verdict, judge

from marfl_peer.config import Settings
from marfl_peer.facts import (
    AnyFact,
    GroupAgreed,
    GroupFinished,
    IterationStarted,
    LocalUpdateFinished,
    PeerStarted,
)
from marfl_peer.lab.fact_stream import FactServer
from marfl_peer.lab.jobs import Exited, Job, Ready, Started
from marfl_peer.lab.launcher import Launcher
from marfl_peer.lab.plan import BOOTSTRAP_PEERS, HOST, peer_settings
from marfl_peer.lab.ports import free_ports
from marfl_peer.lab.swarm import PEER_ENTRY

PEERS, KILLED = 16, 3
LEADERS = (0, 1, 2, 3, 4, 8, 12)
"""Ranks of the lowest ids of the lines of a 4 x 4 grid that is filled by rank."""
TASK = "digits"
LOCAL_STEPS = 40
"""So many that the swarm is still at work when the joiner has imported what it needs."""
TRIAL_LIMIT_S = 600.0
SHOWN = 8
"""Complaints that are printed of a trial."""


class Phase(Enum):
    """What a victim has just told when its end is near."""

    STARTING = "starting"
    TRAINING = "training"
    WAITING_1 = "waiting in round 1"
    EXCHANGING_1 = "exchanging in round 1"
    WAITING_2 = "waiting in round 2"
    EXCHANGING_2 = "exchanging in round 2"
    BETWEEN = "between iterations"

    def begins_with(self, fact: AnyFact, iteration: int) -> bool:
        """Whether a peer that tells this fact is in the phase now."""
        match fact:
            case IterationStarted():
                phase = Phase.TRAINING
            case LocalUpdateFinished():
                phase = Phase.WAITING_1
            case GroupAgreed():
                phase = Phase.EXCHANGING_1 if fact.round == 1 else Phase.EXCHANGING_2
            case GroupFinished():
                phase = Phase.WAITING_2 if fact.round == 1 else Phase.BETWEEN
            case _:
                return False
        return self is phase and fact.iteration == iteration


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """The peer of this rank (among the ids) dies `delay_s` after `trigger`, a rank too, enters the phase."""

    rank: int
    trigger: int
    phase: Phase
    iteration: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One trial. `contact` is the rank of the survivor that the joiner is told of."""

    who: str
    together: bool
    blows: tuple[Blow, ...]
    contact: int


def plan_trial(trial: int, seed: int) -> Plan:
    """Phases and kinds of victims take turns, so that 20 trials cover all; the rest is drawn."""
    rng = random.Random(f"{seed}/{trial}")
    phases = list(Phase)
    first = phases[trial % len(phases)]
    who = ("leaders", "others", "one line", "anybody")[trial % 4]
    together = first is Phase.STARTING or trial % 2 == 0
    ranks = _victims(who, rng)
    blows = []
    iteration = rng.randint(2, 8)
    for turn, rank in enumerate(ranks):
        phase = first if together or turn == 0 else rng.choice(phases[1:])
        trigger = ranks[0] if together else rank
        limit_s = {Phase.STARTING: 1.0, Phase.TRAINING: 0.1}.get(phase, 0.02)
        delay_s = rng.choice((0.0, rng.uniform(0, limit_s)))
        blows.append(Blow(rank=rank, trigger=trigger, phase=phase, iteration=iteration, delay_s=delay_s))
        iteration += 0 if together else rng.randint(0, 2)
    contact = rng.choice([rank for rank in range(PEERS) if rank not in ranks])
    return Plan(who=who, together=together, blows=tuple(blows), contact=contact)


def _victims(who: str, rng: random.Random) -> list[int]:
    match who:
        case "leaders":
            return rng.sample(LEADERS, KILLED)
        case "others":
            return rng.sample([rank for rank in range(PEERS) if rank not in LEADERS], KILLED)
        case "one line":
            lines = [range(4 * line, 4 * line + 4) for line in range(4)] + [range(line, PEERS, 4) for line in range(4)]
            return rng.sample(rng.choice(lines), KILLED)
    return rng.sample(range(PEERS), KILLED)


class Trial:
    """One swarm, its three deaths and its late joiner."""

    def __init__(self, plan: Plan, folder: Path, *, iterations: int, seed: int) -> None:
        self._plan, self._folder = plan, folder
        self._iterations = iterations
        self._run = Settings(
            task=TASK,
            iterations=iterations,
            seed=seed,
            local_steps=LOCAL_STEPS,
            shards=PEERS + 1,
            run_id=folder.name,
            wait_timeout_s=20.0,
        )
        self._ports = free_ports(PEERS + 1, host=HOST, rng=random.Random())
        self._settings = [
            peer_settings(self._run, index, ports=self._ports[:PEERS], folder=folder) for index in range(PEERS)
        ]
        self._ids: dict[int, str] = {}
        self._pids: dict[int, int] = {}
        self._exit_codes: dict[Path, int | None] = {}
        self._struck: set[int] = set()
        self._news = asyncio.Event()
        self._running = asyncio.Event()
        self._all_started = asyncio.Event()

    async def run(self) -> Verdict:
        """Raises: TimeoutError where the swarm does not come to an end."""
        with tempfile.TemporaryDirectory(prefix="marfl-") as short_path:
            socket = Path(short_path) / "facts"
            job = Job(entry=PEER_ENTRY, settings=self._run, facts_path=str(socket))
            async with (
                asyncio.timeout(TRIAL_LIMIT_S),
                FactServer(socket, self._heard),
                Launcher(job, log=self._folder / "nursery.log", environment=os.environ) as launcher,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(self._starting_blows())
                tasks.create_task(self._join())
                await self._oversee(launcher)
        folders = [settings.state_dir for settings in self._settings]
        victims = [folders[self._index(blow.rank)] for blow in self._plan.blows]
        return judge(
            victims=victims,
            survivors=[folder for folder in folders if folder not in victims],
            joiner=self._joiner_folder,
            exit_codes=self._exit_codes,
            iterations=self._iterations,
            task=TASK,
        )

    @property
    def _joiner_folder(self) -> Path:
        return self._folder / "joiner"

    async def _oversee(self, launcher: Launcher) -> None:
        exited = 0
        while exited < PEERS:
            report = await launcher.next_report()
            match report:
                case Ready():
                    for index in range(BOOTSTRAP_PEERS):
                        launcher.start(index, self._settings[index])
                    await self._until(lambda: len(self._ids) == BOOTSTRAP_PEERS)
                    for index in range(BOOTSTRAP_PEERS, PEERS):
                        launcher.start(index, self._settings[index])
                case Started():
                    self._pids[report.index] = report.pid
                case Exited():
                    exited += 1
                    self._exit_codes[self._settings[report.index].state_dir] = report.code
                case _:
                    raise RuntimeError(f"the fork server ended: see {self._folder / 'nursery.log'}")

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news.clear()
            await self._news.wait()

    def _heard(self, index: int, fact: AnyFact) -> None:
        if isinstance(fact, PeerStarted):
            self._ids[index] = fact.peer_id
            self._news.set()
            if len(self._ids) == PEERS:
                self._all_started.set()
        if isinstance(fact, IterationStarted):
            self._running.set()
        if len(self._ids) == PEERS:
            for blow in self._plan.blows:
                if self._index(blow.trigger) == index and blow.phase.begins_with(fact, blow.iteration):
                    self._strike_soon(blow)

    def _strike_soon(self, blow: Blow) -> None:
        if blow.rank not in self._struck:
            self._struck.add(blow.rank)
            if blow.delay_s:
                asyncio.get_running_loop().call_later(blow.delay_s, self._strike, blow)
            else:
                self._strike(blow)

    def _strike(self, blow: Blow) -> None:
        os.kill(self._pids[self._index(blow.rank)], signal.SIGKILL)

    async def _starting_blows(self) -> None:
        """A peer that starts has told that it listens, and nobody has begun iteration 1 before all did."""
        await self._all_started.wait()
        for blow in self._plan.blows:
            if blow.phase is Phase.STARTING:
                self._strike_soon(blow)

    async def _join(self) -> None:
        await self._running.wait()
        contact = self._ports[self._index(self._plan.contact)]
        self._joiner_folder.mkdir()
        with (self._joiner_folder / "peer.log").open("wb") as log:
            joiner = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "marfl_peer", "join"),
                *("--bootstrap", f"{HOST}:{contact}", "--run-id", self._run.run_id),
                *("--port", str(self._ports[PEERS]), "--state-dir", str(self._joiner_folder)),
                stdout=log,
                stderr=log,
            )
            try:
                self._exit_codes[self._joiner_folder] = await joiner.wait()
            finally:
                if joiner.returncode is None:
                    joiner.kill()
                    await joiner.wait()

    def _index(self, rank: int) -> int:
        """The launcher's index of the peer with this rank among all ids."""
        return sorted(self._ids, key=lambda index: self._ids[index])[rank]


HEADER = (
    f"{'trial':>5}  {'who':9} {'when':8}  {'finished':>8} {'wait s':>7} {'of D_g':>7} {'D_g hit':>7} {'slowest':>8} "
    f"{'lag s':>6} {'apart':>8} {'at end':>8} {'joined':>6} {'accuracy':>8}  verdict; what the killed were doing"
)


def row(trial: int, plan: Plan, verdict: Verdict) -> str:
    died = ", ".join(verdict.died_in)
    return (
        f"{trial:>5}  {plan.who:9} {'together' if plan.together else 'spread':8}  {verdict.finished:>5}/14 "
        f"{verdict.longest_wait_s:>7.2f} {verdict.worst_ratio:>7.3f} {verdict.deadlines_reached:>7} "
        f"{verdict.slowest_iteration_s:>7.2f}s {verdict.most_lag_s:>6.2f} {verdict.worst_disagreement:>8.1e} "
        f"{verdict.last_disagreement:>8.1e} {verdict.joined_at:>6} {verdict.accuracy:>8.4f}  "
        f"{'FAILED' if verdict.complaints else 'held'}; {died}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="kill -9 of 3 of 16 peers, at seeded moments")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="keep the peers' folders below this one")
    options = parser.parse_args(arguments)
    failed = 0
    print(HEADER, flush=True)
    for trial in range(options.first, options.first + options.trials):
        plan = plan_trial(trial, options.seed)
        with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
            folder = (options.keep or Path(temporary)) / f"trial-{options.seed}-{trial}"
            folder.mkdir(parents=True)
            verdict = asyncio.run(_one(plan, folder, options.iterations, options.seed))
        print(row(trial, plan, verdict), flush=True)
        for complaint in verdict.complaints[:SHOWN]:
            print(f"       {complaint}", flush=True)
        if len(verdict.complaints) > SHOWN:
            print(f"       and {len(verdict.complaints) - SHOWN} more", flush=True)
        failed += bool(verdict.complaints)
    print(f"{options.trials - failed} of {options.trials} trials held")
    return 1 if failed else 0


async def _one(plan: Plan, folder: Path, iterations: int, seed: int) -> Verdict:
    return await Trial(plan, folder, iterations=iterations, seed=seed).run()


if __name__ == "__main__":
    sys.exit(main())
