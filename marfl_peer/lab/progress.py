"""What the user sees while a swarm runs: a live view on a terminal, one line an iteration anywhere else.

Draws snapshots; knows nothing of processes, and neither when to draw nor where the figures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from marfl_peer.config import Settings
from marfl_peer.lab.churn.steps import NOTHING_DONE, ChurnCounts
from marfl_peer.lab.figures import (
    churned,
    clock,
    epsilons,
    grid,
    known,
    last,
    number,
    per_peer,
    percent,
    scheme,
    scientific,
    seconds,
    sizes,
    sparkline,
)
from marfl_peer.lab.tally import IterationRow

SPARK_WIDTH = 32
PANEL_WIDTH = 84


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a run at one moment. `rows` are settled, ascending; `current` is the iteration under way.

    `progress` is the share of all iterations of all peers that is done, 0..1; `peers` is how many there shall
    be.
    """

    settings: Settings
    peers: int
    grid: tuple[int, ...] | None
    phase: str
    elapsed_s: float
    progress: float
    rows: Sequence[IterationRow]
    current: IterationRow | None
    alive: int
    finished: int
    lost: int
    churn: ChurnCounts = NOTHING_DONE
    pss_mib_mean: float | None = None


class View(Protocol):
    """Something that shows snapshots, from entering it to leaving it."""

    def __enter__(self) -> Self: ...

    def update(self, snapshot: Snapshot) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LiveView:
    """Redraws one panel in place and wipes it at the end."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def update(self, snapshot: Snapshot) -> None:
        self._live.update(panel(snapshot), refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class PlainView:
    """Prints a line for every new phase and every settled iteration."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase = ""
        self._printed = 0
        self._churn = NOTHING_DONE

    def __enter__(self) -> Self:
        return self

    def update(self, snapshot: Snapshot) -> None:
        for row in snapshot.rows[self._printed :]:
            self._print(iteration_line(row, snapshot.settings.iterations))
        if len(snapshot.rows) > self._printed and snapshot.churn != self._churn:
            self._churn = snapshot.churn
            self._print(f"churn so far: {churned(snapshot.churn)}")
        self._printed = len(snapshot.rows)
        if snapshot.phase != self._phase:
            self._phase = snapshot.phase
            self._print(f"{snapshot.elapsed_s:.1f} s: {snapshot.phase}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def choose_view(console: Console, *, plain: bool) -> View:
    """The live view where it can be drawn and is not unwanted."""
    return LiveView(console) if console.is_terminal and not plain else PlainView(console)


def iteration_line(row: IterationRow, iterations: int) -> str:
    """One iteration on one line."""
    parts = [
        f"iteration {row.iteration}/{iterations}",
        f"accuracy {percent(row.test_accuracy_mean)}",
        f"loss {number(row.train_loss_mean)}",
        f"groups {row.groups_complete} complete {row.groups_partial} partial",
        f"peers {row.peers_alive}" + (f" ({row.peers_skipped} skipped)" if row.peers_skipped else ""),
        f"sent {sizes(per_peer(row))} a peer",
        seconds(row.seconds),
    ]
    if spent := epsilons(row):
        parts.append(f"epsilon {spent}")
    return "  ".join(parts)


def panel(snapshot: Snapshot) -> RenderableType:
    """The live view of one moment."""
    settings = snapshot.settings
    how = scheme(settings.aggregation, settings.exchange)
    head = Text.assemble(
        (f"{snapshot.peers} peers", "bold"),
        f" · {grid(snapshot.grid, snapshot.peers)} · {how} · {settings.codec} · {settings.partition}",
    )
    return Panel(
        Group(head, Text(), _bar(snapshot), Text(), _figures(snapshot)),
        title=f"[bold cyan]marfl-peer swarm[/] · {settings.run_id} · {settings.task}",
        title_align="left",
        subtitle=f"{snapshot.phase} · {clock(snapshot.elapsed_s)} · Ctrl+C to stop",
        subtitle_align="right",
        border_style="cyan",
        padding=(1, 2),
        width=PANEL_WIDTH,
    )


def _bar(snapshot: Snapshot) -> Table:
    bar = Table.grid(padding=(0, 2), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(justify="right")
    iteration = max((row.iteration for row in (*snapshot.rows, snapshot.current) if row is not None), default=0)
    bar.add_row(
        ProgressBar(total=1.0, completed=snapshot.progress, complete_style="cyan", finished_style="green"),
        Text.assemble("iteration ", (str(iteration), "bold"), f"/{snapshot.settings.iterations}"),
    )
    return bar


def _figures(snapshot: Snapshot) -> Table:
    rows = [*snapshot.rows, *([] if snapshot.current is None else [snapshot.current])]
    accuracies = known(row.test_accuracy_mean for row in rows)
    losses = known(row.train_loss_mean for row in rows)
    durations = known(row.seconds for row in rows)
    disagreements = known(row.disagreement for row in snapshot.rows)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=13)
    table.add_column(min_width=8)
    table.add_column(no_wrap=True)
    table.add_row("test accuracy", Text(percent(last(accuracies)), "bold green"), _spark(accuracies, "green"))
    table.add_row("training loss", number(last(losses)), _spark(losses, "yellow"))
    table.add_row("iteration", seconds(last(durations)), _spark(durations, "blue"))
    table.add_row("disagreement", scientific(last(disagreements)), Text("between the peers' models", "dim"))
    newest = next((row for row in reversed(rows) if row.peers_alive), None)
    if spent := epsilons(next((row for row in reversed(rows) if row.epsilon_mate is not None), None)):
        table.add_row("epsilon", "", spent)
    for kind, amount in () if newest is None else per_peer(newest).items():
        table.add_row(f"sent: {kind}", decimal(round(amount)), Text("a peer and iteration", "dim"))
    groups = (0, 0) if newest is None else (newest.groups_complete, newest.groups_partial)
    table.add_row("groups", f"{groups[0]}", Text.assemble("complete · ", _alarm(groups[1], "partial")))
    memory = "" if snapshot.pss_mib_mean is None else f" · {snapshot.pss_mib_mean:.1f} MiB each"
    lives = Text.assemble(f"alive · {snapshot.finished} finished · ", _alarm(snapshot.lost, "lost"), memory)
    table.add_row("peers", str(snapshot.alive), lives)
    if churn := churned(snapshot.churn):
        table.add_row("churn", "", churn)
    return table


def _alarm(count: int, what: str) -> tuple[str, str]:
    return (f"{count} {what}", "bold red" if count else "")


def _spark(values: Sequence[float], style: str) -> Text:
    return Text(sparkline(values, SPARK_WIDTH), style)
