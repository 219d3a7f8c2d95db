"""`marfl-peer bench exchange`: one group of real peers averages a vector, beside gloo's all-reduce in the same run."""

from __future__ import annotations

import dataclasses
from contextlib import AsyncExitStack

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.lab.bench import figures
from marfl_peer.lab.bench.conductor import conducting
from marfl_peer.lab.bench.contest import Note, compete, watch_callbacks
from marfl_peer.lab.bench.gloo_rank import FLAT
from marfl_peer.lab.bench.results import Exchange
from marfl_peer.lab.bench.sides import Side, bench_settings, gloo_ranks, peers_side, way_of
from marfl_peer.lab.links import Land, Rates, why_not, written


async def measure_exchange(
    settings: Settings, *, members: int, vector_bytes: int, repeats: int, note: Note, rates: Rates | None = None
) -> Exchange:
    """Of `settings` codec, exchange, spans and how neighbours talk count. Over links of these `rates`, else on this
    machine.

    Raises: ConfigError; MarflError, also in a group: a process that failed, or a result that is wrong.
    """
    if rates is not None and (reason := why_not()):
        raise ConfigError("--link-rate", written(rates.rate), f"{reason}, or without --link-rate")
    run = bench_settings(dataclasses.replace(settings, group_size=members), members)
    async with AsyncExitStack() as stack:
        land = None if rates is None else stack.enter_context(Land(members, rates))
        conductor = await stack.enter_async_context(conducting(run))
        note("starting", 0.0)
        ours = await peers_side(conductor, run, members, vector_bytes, land)
        gloo = Side(name="gloo", what=FLAT, members=await gloo_ranks(conductor, run, members, vector_bytes, land))
        errors = await compete(conductor, [ours, gloo], {"peers": repeats, "gloo": repeats}, note)
        watched = await peers_side(conductor, run, members, vector_bytes, land, is_watched=True)
        callbacks = await watch_callbacks(conductor, watched, repeats, note)
    seconds, gloo_seconds = figures.all_seconds(ours.measured), figures.all_seconds(gloo.measured)
    return Exchange(
        members=members,
        bytes=vector_bytes,
        codec=run.codec,
        way=way_of(run, land),
        spans=run.spans,
        repeats=repeats,
        seconds_median=figures.median(seconds),
        seconds_quartiles=figures.quartiles(seconds),
        gloo_seconds_median=figures.median(gloo_seconds),
        gloo_seconds_quartiles=figures.quartiles(gloo_seconds),
        ratio_to_gloo=figures.median(seconds) / figures.median(gloo_seconds),
        cpu_seconds_median=figures.median(figures.cpu_seconds(ours.measured)),
        gloo_cpu_seconds_median=figures.median(figures.cpu_seconds(gloo.measured)),
        call_seconds_median=figures.median(figures.call_seconds(ours.measured)),
        bytes_sent_per_member=figures.bytes_by_kind(ours.measured),
        tensor_bytes_sent=figures.tensor_bytes(ours.measured),
        link_bits_per_second=None if rates is None else [rates.of(member, members) for member in range(members)],
        measured_bits_per_second=figures.uplinks(ours.measured),
        groups_partial=figures.groups_partial(ours.measured),
        error=errors["peers"],
        callback_cpu_seconds_max=callbacks[0].cpu_seconds_max,
        callbacks=callbacks,
    )
