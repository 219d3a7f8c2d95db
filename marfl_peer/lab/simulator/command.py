"""What `marfl-peer simulate` does: picks scenarios, runs them, and tells what came of it.

Exit codes: 0 nothing broke, 1 an invariant did, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from marfl_peer.errors import ConfigError
from marfl_peer.lab.simulator.account import Account, open_trace
from marfl_peer.lab.simulator.faults.directed import DIRECTED
from marfl_peer.lab.simulator.faults.drawing import draw
from marfl_peer.lab.simulator.faults.reading import read_plan
from marfl_peer.lab.simulator.report import Report, Violation
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.sweep import Sweep, sweep
from marfl_peer.lab.summary import check_writable, write_summary

OK, BROKEN, INTERRUPTED = 0, 1, 130
LINE_EVERY = 50
"""Seeds from one line of progress to the next, where there is no terminal."""


class Simulate:
    """`given`: fields of the scenario that the user set; all others are the fault plan's to choose. `as_json`: stdout
    has one JSON object and nothing else."""

    def __init__(
        self,
        *,
        faults: str,
        given: Mapping[str, Any],
        as_json: bool,
        out: Console | None = None,
        err: Console | None = None,
    ) -> None:
        """Raises: ConfigError for faults that nobody knows, or a plan that cannot be."""
        self._faults, self._given, self._as_json = faults, dict(given), as_json
        self._out = out or Console(soft_wrap=True, highlight=False, markup=False)
        self._err = err or Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._scenario = _source(faults, self._given)

    def one(self, seed: int, *, summary: Path | None, trace: Path | None) -> int:
        """One run with its account; returns the exit code."""
        if summary is not None:
            check_writable(summary)
        with ExitStack() as stack:
            lines = None if trace is None else stack.enter_context(open_trace(trace))
            account = Account(self._scenario(seed), trace=lines)
            result = sweep([account.scenario], after=_nothing, is_stopped=_never, play=account.run)
        if summary is not None:
            write_summary(account.summary(self.replay(seed), "" if self._faults == "none" else self._faults), summary)
        if not self._as_json:
            for line in account.lines():
                self._out.print(line)
        return self._close(result)

    def many(self, seeds: Sequence[int]) -> int:
        """All these seeds; returns the exit code."""
        with _stop_signal() as is_stopped, _progress(self._err, len(seeds)) as tell:

            def after(so_far: Sweep, report: Report) -> None:
                tell(so_far)
                if report.violations and len(so_far.violations) == len(report.violations) and not self._as_json:
                    self._tell_story(report.violations[0])

            result = sweep((self._scenario(seed) for seed in seeds), after=after, is_stopped=is_stopped)
        if not self._as_json:
            count = len({violation.seed for violation in result.violations})
            cost = result.cpu_s / max(1, result.seeds_run)
            self._out.print(
                f"{result.seeds_run} of {len(seeds)} seeds run, {count} broke an invariant; "
                f"{result.virtual_s / 3600:.2f} virtual hours, {cost:.2f} CPU s a seed"
            )
        return self._close(result, is_told=True)

    def replay(self, seed: int) -> str:
        """The command that runs that seed again."""
        flags = [_flag(name.replace("_", "-"), value) for name, value in sorted(self._given.items())]
        return " ".join(["marfl-peer simulate", f"--seed {seed}", f"--faults {self._faults}", *flags])

    def _close(self, result: Sweep, *, is_told: bool = False) -> int:
        if self._as_json:
            self._out.print(msgspec.json.encode(self._plain(result)).decode())
        elif result.violations and not is_told:
            self._tell_story(result.violations[0])
        if result.violations:
            return BROKEN
        return INTERRUPTED if result.was_interrupted else OK

    def _plain(self, result: Sweep) -> dict[str, Any]:
        return {
            "seeds_run": result.seeds_run,
            "violations": [
                {**dataclasses.asdict(violation), "replay": self.replay(violation.seed)}
                for violation in result.violations
            ],
        }

    def _tell_story(self, violation: Violation) -> None:
        self._out.print(f"seed {violation.seed} breaks {violation.invariant}: {violation.message}")
        for line in violation.story:
            self._out.print(f"  {line}")
        self._out.print(f"replay it: {self.replay(violation.seed)}")


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"


def _source(faults: str, given: Mapping[str, Any]) -> Callable[[int], Scenario]:
    """Makes the scenario of a seed. Raises: ConfigError."""
    if faults == "random":
        return lambda seed: draw(seed, **given)
    if faults == "none":
        return lambda seed: Scenario(seed=seed, **given)
    if faults in DIRECTED:
        return lambda seed: dataclasses.replace(DIRECTED[faults], seed=seed, **given)
    if not faults.endswith(".toml"):
        raise ConfigError("--faults", faults, f"write none, random, a file PLAN.toml or one of {', '.join(DIRECTED)}")
    plan = read_plan(Path(faults))
    return lambda seed: Scenario(seed=seed, plan=plan, **given)


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """The first Ctrl+C lets the run under way end, the next one ends it where it is."""
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(console: Console, count: int) -> Iterator[Callable[[Sweep], None]]:
    """A bar on a terminal, a line now and then anywhere else; both on stderr."""
    if console.is_terminal:
        columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("seeds", total=count)
            yield lambda result: bar.update(task, completed=result.seeds_run)
        return

    def line(result: Sweep) -> None:
        if result.seeds_run % LINE_EVERY == 0 and result.seeds_run < count:
            broken = len({violation.seed for violation in result.violations})
            console.print(f"{result.seeds_run} of {count} seeds, {broken} broke an invariant")

    yield line


def _never() -> bool:
    return False


def _nothing(_: Sweep, __: Report) -> None: ...
