"""What the user sees when a swarm has ended: the table of its summary, and what became of the peers that were
lost.
"""

from __future__ import annotations

import signal
from pathlib import Path

from rich import box
from rich.table import Table

from marfl_peer.lab.figures import (
    churned,
    epsilons,
    grid,
    known,
    last,
    number,
    percent,
    scheme,
    scientific,
    seconds,
    sizes,
    sparkline,
)
from marfl_peer.lab.plan import peer_name
from marfl_peer.lab.summary import Summary
from marfl_peer.lab.warden import Life

CURVE_WIDTH = 32
EXPLAINED_LOSSES = 5


def closing_table(summary: Summary, *, startup_s: float | None) -> Table:
    """The run in a dozen lines. `startup_s`: until every peer was listening, in seconds."""
    rows = summary.iterations
    accuracies = known(row.test_accuracy_mean for row in rows)
    durations = sorted(known(row.seconds for row in rows))
    table = Table(title=f"{summary.run_id} · {summary.task}", title_justify="left", box=box.ROUNDED, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row(
        "peers",
        f"{summary.peers} in a {grid(summary.grid, summary.peers)}, "
        f"{scheme(summary.aggregation, summary.exchange)}, {summary.codec}",
    )
    table.add_row("iterations", str(rows[-1].iteration if rows else 0))
    table.add_row("test accuracy", f"[bold green]{percent(last(accuracies))}[/]", end_section=not accuracies)
    if accuracies:
        table.add_row("", f"[green]{sparkline(accuracies, CURVE_WIDTH)}[/]", end_section=True)
    table.add_row("training loss", number(last(known(row.train_loss_mean for row in rows))))
    if spent := epsilons(next((row for row in reversed(rows) if row.epsilon_mate is not None), None)):
        table.add_row("epsilon", spent)
    table.add_row("disagreement", scientific(last(known(row.disagreement for row in rows))))
    table.add_row("sent, a peer and iteration", sizes(summary.bytes_sent_per_peer_per_iteration))
    table.add_row("DHT look-ups, likewise", f"{summary.dht_lookups_per_peer_per_iteration:.2f}")
    complete, partial = sum(row.groups_complete for row in rows), sum(row.groups_partial for row in rows)
    table.add_row("groups", f"{complete} complete, {partial} partial")
    table.add_row("iteration, median", seconds(durations[len(durations) // 2] if durations else None))
    table.add_row("start-up", seconds(startup_s))
    table.add_row("wall time", seconds(summary.wall_seconds), end_section=True)
    table.add_row(
        "peers", f"{summary.peers_started} started, {summary.peers_finished} finished, {summary.peers_lost} lost"
    )
    if churn := churned(summary.churn):
        table.add_row("churn", churn)
    if summary.pss_mib_max is not None and summary.pss_mib_total is not None:
        table.add_row(
            "memory (PSS)", f"{summary.pss_mib_max:.1f} MiB a peer at most, {summary.pss_mib_total:.0f} in all"
        )
    return table


def losses(lives: list[Life], folder: Path) -> list[str]:
    """One line for each of the first few lost peers: how it ended, and where its log is."""
    lines = [
        f"{peer_name(life.index)} was lost: {ending(life)} (see {folder / peer_name(life.index) / 'peer.log'})"
        for life in lives[:EXPLAINED_LOSSES]
    ]
    if len(lives) > EXPLAINED_LOSSES:
        lines.append(f"and {len(lives) - EXPLAINED_LOSSES} more")
    return lines


def ending(life: Life) -> str:
    """How a process ended, in words."""
    if life.asked_at is not None:
        return "it did not come to an end and was stopped"
    if life.killed_by is not None:
        return f"killed by {signal.Signals(life.killed_by).name}"
    if life.stopped is not None and life.stopped.detail:
        return life.stopped.detail
    return f"exit code {life.code}"
