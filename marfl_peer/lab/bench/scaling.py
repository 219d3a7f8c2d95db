"""`marfl-peer bench scaling`: what real peers send and how long an iteration takes as the swarm grows, beside the
formulas of the schemes. Nothing is trained."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from marfl_peer.config import BY_LOT, Settings
from marfl_peer.lab.bench import figures
from marfl_peer.lab.bench.conductor import conducting
from marfl_peer.lab.bench.contest import Note
from marfl_peer.lab.bench.formulas import fit, log_fit
from marfl_peer.lab.bench.results import Scaling, ScalingRun
from marfl_peer.lab.bench.sides import bench_settings, peers_side
from marfl_peer.lab.bench.simulated import simulate_scaling
from marfl_peer.lab.memory import MIB


async def measure_scaling(
    settings: Settings,
    *,
    peers: Sequence[int],
    simulated: Sequence[int] = (),
    vector_bytes: int,
    iterations: int,
    note: Note,
) -> Scaling:
    """One run for each number of peers, one after the other, with processes and then `simulated`. Of `settings` group
    size, codec, scheme and the kind of exchange count. Where groups are drawn by lot nobody knows what must come out.

    Raises: ConfigError; MarflError, also in a group: a process that failed, or a result that is wrong.
    """
    runs = []
    for count, number in enumerate([*peers, *simulated]):

        def note_run(what: str, done: float, before: int = count, number: int = number) -> None:
            note(f"{number} peers: {what}", (before + done) / (len(peers) + len(simulated)))

        if count < len(peers):
            runs.append(
                await _measure(settings, peers=number, vector_bytes=vector_bytes, iterations=iterations, note=note_run)
            )
        else:
            # Nothing else runs: the simulation may have the thread, with a loop of its own, to itself.
            run = asyncio.to_thread(
                simulate_scaling,
                settings,
                peers=number,
                vector_bytes=vector_bytes,
                iterations=iterations,
                note=note_run,
            )
            runs.append(await run)
    sent = [(run.peers, run.bytes_sent_per_peer_per_iteration) for run in runs]
    return Scaling(
        vector_bytes=vector_bytes,
        codec=settings.codec,
        runs=runs,
        fit=fit(sent, settings.group_size),
        log_fit=log_fit(sent, settings.group_size),
    )


async def _measure(settings: Settings, *, peers: int, vector_bytes: int, iterations: int, note: Note) -> ScalingRun:
    run = bench_settings(settings, peers)
    is_exact = run.aggregation not in BY_LOT
    loop = asyncio.get_running_loop()
    async with conducting(run) as conductor:
        note("starting", 0.0)
        began = loop.time()
        side = await peers_side(conductor, run, peers, vector_bytes)
        startup_s = loop.time() - began
        for iteration in range(1, iterations + 1):
            note(f"iteration {iteration} of {iterations}", (iteration - 1) / iterations)
            is_checked = is_exact and iteration in (1, iterations)
            side.measured.append(await conductor.measure(side.members, checked=is_checked))
        memory = await conductor.memory(side.members)
    measured = side.measured
    error = figures.checked(measured[0], "the peers") if is_exact else None
    if is_exact:
        assert error is not None
        figures.are_equal(measured[-1], "the peers")
    calls = figures.call_seconds(measured)
    return msgspec.structs.replace(
        figures.counted(measured, settings=run, vector_bytes=vector_bytes),
        seconds_per_iteration=figures.median(calls),
        seconds_first_iteration=calls[0],
        startup_seconds=startup_s,
        pss_mib_max=None if memory is None else memory.max_bytes / MIB,
        pss_mib_total=None if memory is None else memory.total_bytes / MIB,
        error=error,
    )
