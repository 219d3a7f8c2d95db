"""`marfl-peer bench aggregation`: all rounds of N peers in groups of M, matchmaking and checks included, beside gloo in
the same groups, one all-reduce of all, and hivemind where it is installed."""

from __future__ import annotations

from marfl_peer.config import Settings
from marfl_peer.lab.bench import figures
from marfl_peer.lab.bench.conductor import conducting
from marfl_peer.lab.bench.contest import Note, compete, watch_callbacks
from marfl_peer.lab.bench.gloo_rank import FLAT, GROUPS
from marfl_peer.lab.bench.hivemind_rank import is_installed
from marfl_peer.lab.bench.results import Aggregation
from marfl_peer.lab.bench.sides import Side, bench_settings, gloo_ranks, hivemind_side, peers_side, way_of
from marfl_peer.protocol.grid import Grid

REPEATS_A_HIVEMIND = 10
"""A round of hivemind takes seconds: of it there is one repeat for so many of the others."""


async def measure_aggregation(
    settings: Settings, *, peers: int, vector_bytes: int, repeats: int, note: Note
) -> Aggregation:
    """Of `settings` group size, codec, the kind of exchange and how neighbours talk count.

    Raises: ConfigError; MarflError, also in a group: a process that failed, or a result that is wrong.
    """
    run = bench_settings(settings, peers)
    counts = {"peers": repeats, "gloo in groups": repeats, "gloo flat": repeats}
    async with conducting(run) as conductor:
        note("starting", 0.0)
        ours = await peers_side(conductor, run, peers, vector_bytes)
        ranks = await gloo_ranks(conductor, run, peers, vector_bytes)
        grouped = Side(name="gloo in groups", what=GROUPS, members=ranks)
        flat = Side(name="gloo flat", what=FLAT, members=ranks)
        sides = [ours, grouped, flat]
        hivemind = None
        if is_installed():
            hivemind = await hivemind_side(conductor, run, peers, vector_bytes)
            sides.append(hivemind)
            counts[hivemind.name] = max(1, repeats // REPEATS_A_HIVEMIND)
        errors = await compete(conductor, sides, counts, note)
        watched = await peers_side(conductor, run, peers, vector_bytes, is_watched=True)
        callbacks = await watch_callbacks(conductor, watched, repeats, note)
    seconds, grouped_seconds, flat_seconds = (figures.all_seconds(side.measured) for side in (ours, grouped, flat))
    tried = [] if hivemind is None else hivemind.measured
    hivemind_seconds = figures.all_seconds(tried)
    hivemind_median = figures.median(hivemind_seconds) if hivemind_seconds else None
    median = figures.median(seconds)
    return Aggregation(
        members=peers,
        group_size=run.group_size,
        grid=Grid.for_peers(peers, run.group_size).shape,
        bytes=vector_bytes,
        codec=run.codec,
        way=way_of(run),
        repeats=repeats,
        seconds_median=median,
        seconds_quartiles=figures.quartiles(seconds),
        gloo_seconds_median=figures.median(grouped_seconds),
        gloo_seconds_quartiles=figures.quartiles(grouped_seconds),
        gloo_flat_seconds_median=figures.median(flat_seconds),
        gloo_flat_seconds_quartiles=figures.quartiles(flat_seconds),
        hivemind_seconds_median=hivemind_median,
        hivemind_repeats=len(hivemind_seconds),
        hivemind_failures=len(tried) - len(hivemind_seconds),
        ratio_to_gloo=median / figures.median(grouped_seconds),
        ratio_to_gloo_flat=median / figures.median(flat_seconds),
        ratio_to_hivemind=None if hivemind_median is None else median / hivemind_median,
        cpu_seconds_median=figures.median(figures.cpu_seconds(ours.measured)),
        gloo_cpu_seconds_median=figures.median(figures.cpu_seconds(grouped.measured)),
        call_seconds_median=figures.median(figures.call_seconds(ours.measured)),
        bytes_sent_per_member=figures.bytes_by_kind(ours.measured),
        groups_partial=figures.groups_partial(ours.measured),
        error=errors["peers"],
        callback_cpu_seconds_max=callbacks[0].cpu_seconds_max,
        callbacks=callbacks,
    )
