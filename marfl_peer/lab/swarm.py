"""`marfl-peer swarm`: N peers as processes of this machine, from start to summary.

Feeds reports and facts to the tally and the warden, carries out what the warden wants, and draws. Judges
nothing itself; it has no part in what the peers agree on.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from marfl_peer.clock import Deadline
from marfl_peer.config import Settings
from marfl_peer.facts import AnyFact, PeerStarted
from marfl_peer.lab.churn.churn import Churn
from marfl_peer.lab.churn.driver import ChurnDriver
from marfl_peer.lab.churn.log import CHURN_LOG, ChurnLog
from marfl_peer.lab.churn.plan import NO_CHURN, ChurnPlan
from marfl_peer.lab.closing import closing_table, losses
from marfl_peer.lab.commands import swarm_command
from marfl_peer.lab.fact_stream import FactServer
from marfl_peer.lab.jobs import Exited, Job, Ready, Refused, Report, Started
from marfl_peer.lab.launcher import Launcher
from marfl_peer.lab.memory import PssSampler
from marfl_peer.lab.plan import BOOTSTRAP_PEERS, HOST, make_folder, peer_settings, run_settings
from marfl_peer.lab.ports import free_ports, ports_from
from marfl_peer.lab.progress import View, choose_view
from marfl_peer.lab.summary import SUMMARY, PeerCounts, Summary, check_writable, summarise, write_summary
from marfl_peer.lab.tally import Tally
from marfl_peer.lab.warden import Fate, Patience, Warden
from marfl_peer.lab.watch import Watch

PEER_ENTRY = "marfl_peer.lab.child:prepare"
TICK_S = 0.25
HEAD_START_S = 10.0
LAST_FACTS_S = 5.0


def run_swarm(
    settings: Settings,
    peers: int,
    *,
    summary: Path | None,
    plain: bool,
    churn: ChurnPlan = NO_CHURN,
    first_port: int | None = None,
    entry: str = PEER_ENTRY,
    environment: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
    console: Console | None = None,
) -> int:
    """Runs a swarm of `peers` local processes and returns the exit code: 0 all finished that the `churn` plan let, 1
    others were lost, 130 interrupted (the peers left, the summary is written).

    The peers' folders (state, journal, log) are made below settings.state_dir/RUN_ID-YYYYMMDD-HHMMSS, and the summary
    is written there, too. Peer i listens on `first_port` + i, or on any free port. `entry` names what is hatched in
    place of peers. Call it from the main thread: it takes
    SIGINT and SIGTERM.
    Raises: ConfigError for settings, data or a summary path that cannot be; MarflError when nothing could start.
    """
    if summary is not None:
        check_writable(summary)
    run = run_settings(settings, peers)
    console = console or Console()
    if first_port is None:
        ports = free_ports(peers, host=HOST, rng=random.Random())
    else:
        ports = ports_from(first_port, peers, host=HOST)
    folder = make_folder(settings.state_dir, settings.run_id, at=datetime.now())
    plans = [peer_settings(run, index, ports=ports, folder=folder) for index in range(peers)]
    with choose_view(console, plain=plain) as view:
        swarm = Swarm(run, plans, folder=folder, view=view, patience=patience or Patience(), churn=churn)
        asyncio.run(swarm.run(entry=entry, environment=environment))
    result = swarm.summary()
    console.print(closing_table(result, startup_s=swarm.startup_s))
    for line in losses(swarm.warden.with_fate(Fate.LOST), folder):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    for path in (summary, folder / SUMMARY):
        if path is not None:
            write_summary(result, path)
    return swarm.warden.exit_code()


class Swarm:
    """One run of local peers, each with the settings of its place in `plans`. Times are seconds since its
    start.
    """

    _driver: ChurnDriver

    def __init__(
        self,
        run: Settings,
        plans: Sequence[Settings],
        *,
        folder: Path,
        view: View,
        patience: Patience,
        churn: ChurnPlan = NO_CHURN,
    ) -> None:
        self._run = run
        self._plans = plans
        self._folder = folder
        self._began = 0.0
        self._wall_s = 0.0
        self._is_ready = False
        self._ready_at = 0.0
        self._to_start = list(range(len(plans)))
        self._hatching = 0
        self._listening: dict[int, float] = {}
        self._memory = PssSampler()
        self._tally = Tally()
        self.warden = Warden(patience, now=0.0)
        self._churn_plan = churn.written
        self._churn = Churn(churn, peers=len(plans), iterations=run.iterations)
        self._watch = Watch(
            run, len(plans), tally=self._tally, warden=self.warden, view=view, churn=lambda: self._churn.counts
        )

    async def run(self, *, entry: str, environment: Mapping[str, str]) -> None:
        """Returns when no peer is alive any more. Raises: ConfigError, MarflError when none could be
        started.
        """
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.warden.interrupt)
        with tempfile.TemporaryDirectory(prefix="marfl-") as short_path:  # a socket's path has 108 bytes at most
            socket = Path(short_path) / "facts"
            job = Job(entry=entry, settings=self._run, facts_path=str(socket))
            async with (
                FactServer(socket, self._heard) as server,
                Launcher(job, log=self._folder / "nursery.log", environment=environment) as launcher,
            ):
                strike, restart = partial(self._strike, launcher), partial(self._start, launcher)
                note = ChurnLog(self._folder / CHURN_LOG).note
                with ChurnDriver(self._churn, now=self._now, signal=strike, restart=restart, note=note) as self._driver:
                    await self._oversee(launcher)
                await server.drained(Deadline(loop.time() + LAST_FACTS_S))
        await self._memory.finish()
        self._wall_s = self._now()
        self._draw(at_once=True)

    def summary(self) -> Summary:
        """Of the run so far."""
        counts = PeerCounts(
            started=len(self.warden.lives),
            finished=len(self.warden.with_fate(Fate.FINISHED)),
            lost=len(self.warden.with_fate(Fate.LOST)) + len(self.warden.with_fate(Fate.KILLED)),
        )
        return summarise(
            self._run,
            len(self._plans),
            self._tally,
            counts,
            self._churn.counts,
            command=swarm_command(self._run, len(self._plans), self._churn_plan),
            churn_plan=self._churn_plan,
            wall_seconds=self._wall_s,
            pss=self._memory.highest,
        )

    @property
    def startup_s(self) -> float | None:
        """Until the last peer was listening; None if one never was."""
        return max(self._listening.values()) if len(self._listening) == len(self._plans) else None

    @property
    def phase(self) -> str:
        """What is going on, in a few words."""
        if self.warden.is_interrupted:
            return "leaving"
        if not self._is_ready:
            return "importing and loading"
        if self._tally.iterations:
            return "training" if self.warden.alive() else "done"
        return "starting peers" if len(self._listening) < len(self._plans) else "finding each other"

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def _oversee(self, launcher: Launcher) -> None:
        report = asyncio.create_task(launcher.next_report())
        try:
            while not self._is_over():
                await asyncio.wait({report}, timeout=TICK_S)
                if report.done():
                    self._on_report(report.result(), launcher)
                    report = asyncio.create_task(launcher.next_report())
                self._tick(launcher)
        finally:
            report.cancel()
            await asyncio.wait({report})

    def _is_over(self) -> bool:
        if self.warden.is_interrupted and not self._is_ready:
            return True
        is_anybody_due = self._to_start or self._hatching or self._churn.restarts_are_due()
        return not is_anybody_due and not self.warden.alive()

    def _on_report(self, report: Report | None, launcher: Launcher) -> None:
        match report:
            case Ready():
                self._is_ready, self._ready_at = True, self._now()
            case Started():
                self._hatching -= 1
                self.warden.started(report.index, report.pid, now=self._now())
            case Exited():
                self.warden.exited(report.index, report.code, report.signal, now=self._now())
                self._driver.exited(report.index, killed=report.signal == signal.SIGKILL)
            case Refused():
                raise launcher.failure(report)
            case None:
                if not self._is_ready:
                    raise launcher.failure(None)
                self._to_start, self._hatching = [], 0
                self._driver.give_up()
                for life in self.warden.alive():  # children die with the nursery
                    self.warden.exited(life.index, None, signal.SIGKILL, now=self._now())

    def _heard(self, index: int, fact: AnyFact) -> None:
        self._tally.add(index, fact)
        self.warden.heard(index, fact, now=self._now())
        self._driver.heard(index, fact)
        if isinstance(fact, PeerStarted):
            self._listening.setdefault(index, self._now())

    def _tick(self, launcher: Launcher) -> None:
        if self.warden.is_interrupted:
            self._to_start = []
            self._driver.give_up()
        if self._is_ready:
            self._start_due(launcher)
        for index, number in self.warden.signals_due(self._now()):
            launcher.signal(index, number)
        if self._tally.iterations:
            self._memory.sample_if_due([life.pid for life in self.warden.alive()], now=self._now())
        self._draw()

    def _start_due(self, launcher: Launcher) -> None:
        """The peers that all others start from get a head start, until they listen or it takes too long."""
        for index in list(self._to_start):
            if index >= BOOTSTRAP_PEERS and not self._have_head_start():
                return
            self._to_start.remove(index)
            self._start(launcher, index)

    def _start(self, launcher: Launcher, index: int) -> None:
        self._hatching += 1
        launcher.start(index, self._plans[index])

    def _strike(self, launcher: Launcher, index: int, number: int) -> None:
        if number == signal.SIGKILL:
            self.warden.expect_kill(index)
        launcher.signal(index, number)

    def _have_head_start(self) -> bool:
        first = range(min(BOOTSTRAP_PEERS, len(self._plans)))
        return self._now() >= self._ready_at + HEAD_START_S or all(
            index in self._listening or (index in self.warden.lives and not self.warden.lives[index].alive)
            for index in first
        )

    def _draw(self, *, at_once: bool = False) -> None:
        self._watch.draw(self.phase, now=self._now(), pss=self._memory.latest, at_once=at_once)
