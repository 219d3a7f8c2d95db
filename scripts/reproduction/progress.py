"""How far a reproduction is: a bar on a terminal, a line a run anywhere else. Decides nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from reproduction.results import Result
from reproduction.runs import Run

MAX_LINE = 60


class Lines:
    """For logs: what is run, and what became of it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def begins(self, run: Run, number: int, total: int) -> None:
        self._print(f"[{number}/{total}] {run.name}: {run.command}")

    def heard(self, line: str) -> None:
        """Nothing: a log would fill."""

    def ended(self, result: Result) -> None:
        self._print(f"  {outcome(result)}")

    def kept(self, run: Run) -> None:
        self._print(f"{run.name} is there already")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Live:
    """A bar of all runs with what the present one says, above it a line a run."""

    def __init__(self, console: Console, total: int) -> None:
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[said]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=total, said="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def begins(self, run: Run, number: int, total: int) -> None:
        self._bar.update(self._task, description=escape(run.name), said="")

    def heard(self, line: str) -> None:
        self._bar.update(self._task, said=escape(line[:MAX_LINE]))

    def ended(self, result: Result) -> None:
        style = "red" if result.failure else None
        text = f"{result.name}: {outcome(result)}"
        self._bar.console.print(text, style=style, markup=False, highlight=False)
        self._bar.advance(self._task)

    def kept(self, run: Run) -> None:
        self._bar.advance(self._task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def outcome(result: Result) -> str:
    """In a few words."""
    if result.failure:
        return f"failed: {result.failure}"
    return f"done in {result.wall_seconds:.0f} s"


def choose(console: Console, total: int, *, plain: bool) -> Lines | Live:
    """The bar where it can be drawn and is not unwanted."""
    return Live(console, total) if console.is_terminal and not plain else Lines(console)
