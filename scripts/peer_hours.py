"""How much faster than life the simulator is: many virtual peer-hours at one iteration a virtual minute.

Worlds run side by side, one process each; every peer has to finish every iteration. Nearly all of the cost is the
peace between iterations, not the work: 180 heartbeats a peer and minute with the three others of its world, and its
looks into the DHT. So it grows with the peers of a world, and a part of the hours tells what all of them take.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

import click

from marfl_peer.lab.simulator.run import run
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.soak import prepare_worker

STEPS = 2
"""Mini-batches of an update; the test of the model is one more."""


def scenario(seed: int, peers: int, hours: float) -> Scenario:
    """One iteration a minute: mini-batches and test take it all."""
    iterations = max(1, round(hours * 60))
    return Scenario(
        seed=seed,
        peers=peers,
        group_size=min(max(peers, 2), 5),
        iterations=iterations,
        local_steps=STEPS,
        batch_s=60.0 / (STEPS + 1),
        limit_s=hours * 3600 * 2 + 600,
    )


@click.command()
@click.option("--peer-hours", default=1000.0, show_default=True, help="virtual hours times peers, in all worlds")
@click.option("--peers", default=4, show_default=True, help="peers a world")
@click.option("--worlds", default=os.cpu_count() or 1, show_default=True, help="worlds, one process each")
@click.option("--seed", default=1, show_default=True, help="seed of the first world")
def main(peer_hours: float, peers: int, worlds: int, seed: int) -> None:
    """Prints the account; exit code 0 only if everybody finished and nothing was broken."""
    hours = peer_hours / (peers * worlds)
    scenarios = [scenario(seed + number, peers, hours) for number in range(worlds)]
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(worlds, prepare_worker) as pool:
        reports = pool.map(run, scenarios, chunksize=1)
    wall_s = time.monotonic() - began
    lived = sum(report.virtual_s * report.peers for report in reports) / 3600
    haste = max(report.virtual_s for report in reports) / wall_s
    updates = sum(one.iterations * peers for one in scenarios)
    cpu_s = sum(report.cpu_s for report in reports)
    broken = [violation for report in reports for violation in report.violations]
    finished = sum(report.finished for report in reports)
    click.echo(f"{worlds} worlds of {peers} peers, {scenarios[0].iterations} iterations each: {lived:.0f} peer-hours")
    click.echo(
        f"{wall_s:.0f} s of wall time, {haste:,.0f} times as fast as life; "
        f"{cpu_s:.0f} CPU seconds, {1000 * cpu_s / updates:.1f} ms a peer and iteration"
    )
    click.echo(f"{finished} of {worlds * peers} peers finished, {len(broken)} invariants broken")
    for violation in broken[:5]:
        click.echo(f"  seed {violation.seed} breaks {violation.invariant}: {violation.message}")
    sys.exit(0 if finished == worlds * peers and not broken else 1)


if __name__ == "__main__":
    main()
