"""What each fault does to the hosts that it befalls, and how it is over again."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import assert_never

from marfl_peer.lab.simulator.faults.plan import (
    Action,
    Clock,
    Crash,
    Cut,
    Disk,
    Hold,
    Hostile,
    Leave,
    Newcomers,
    Pause,
    Slow,
    Weather,
)
from marfl_peer.lab.simulator.faults.tampering import Tamperer
from marfl_peer.lab.simulator.faults.tap import FrameTap
from marfl_peer.lab.simulator.simulation import Player, Simulation

STATE_FILES = ("state*", "manifest*")


class Deeds:
    """`admit` is told of a newcomer before it starts."""

    def __init__(
        self,
        simulation: Simulation,
        *,
        rng: random.Random,
        tap_of: Callable[[Player], FrameTap],
        admit: Callable[[Player], None],
    ) -> None:
        self._simulation, self._random = simulation, rng
        self._tap_of, self._admit = tap_of, admit
        self._world = simulation.world
        self._weather: list[Weather] = []

    def do(self, what: Action, players: Sequence[Player]) -> None:
        """It befalls these players; some of it ends by itself later."""
        match what:
            case Crash():
                for player in players:
                    self._crash(player, what)
            case Pause():
                for player in players:
                    self._pause(player, what)
            case Slow():
                for player in players:
                    self._slow(player, what)
            case Clock():
                for player in players:
                    self._world.note(player.host, f"clock: drift {what.drift}, step {what.step_s} s")
                    player.host.set_clock(drift=what.drift, step_s=what.step_s)
            case Cut():
                self._cut(players, what)
            case Weather():
                self._change_weather(what)
            case Leave():
                for player in players:
                    self._simulation.ask_to_leave(player)
            case Newcomers():
                for _ in range(what.count):
                    player = self._simulation.add_newcomer()
                    self._admit(player)
                    self._simulation.start(player)
            case Hostile():
                for player in players:
                    self._turn(player, what)
            case Hold():
                raise ValueError("only a connection can be held: give it a trigger that sends")
            case _:
                assert_never(what)

    def _crash(self, player: Player, what: Crash) -> None:
        if player.host.process is None:
            return
        player.host.crash(silently=what.silently)
        if what.restart_after_s is not None:
            self._simulation.expect(what.restart_after_s, lambda: self._restart(player, what.disk))

    def _restart(self, player: Player, disk: Disk) -> None:
        if player.host.process is not None:
            return
        match disk:
            case "wiped":
                self._simulation.wipe(player)
            case "damaged":
                self._damage(player)
            case "kept":
                pass
        self._simulation.start(player)

    def _damage(self, player: Player) -> None:
        """One of its state files is not what was written."""
        disk = player.host.disk
        files = sorted(file for pattern in STATE_FILES for file in disk.glob(pattern) if file.is_file())
        if not files:
            return
        file = self._random.choice(files)
        data = bytearray(file.read_bytes())
        kind = self._random.choice(("cut short", "emptied", "a bit flipped", "overwritten"))
        match kind:
            case "cut short":
                del data[self._random.randrange(max(1, len(data))) :]
            case "emptied":
                data.clear()
            case "a bit flipped" if data:
                data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            case _:
                data[:] = self._random.randbytes(len(data))
        file.write_bytes(data)
        self._world.note(player.host, f"damaged: {file.name} {kind}")

    def _pause(self, player: Player, what: Pause) -> None:
        process = player.host.process
        player.host.pause()

        def resume() -> None:
            if player.host.process is process:
                player.host.resume()

        self._world.after(what.for_s, resume)

    def _slow(self, player: Player, what: Slow) -> None:
        host = player.host
        self._world.note(host, f"slow: {what.factor:g} times as long")
        host.slowness *= what.factor

        def recover() -> None:
            host.slowness /= what.factor
            self._world.note(host, "no longer slow")

        self._world.after(what.for_s, recover)

    def _cut(self, players: Sequence[Player], what: Cut) -> None:
        inside = [player.host.address for player in players]
        chosen = None if what.others is None else what.others.indices
        outside = [
            player.host.address
            for player in self._simulation.players
            if player not in players and (chosen is None or player.index in chosen)
        ]
        ways = []
        if what.direction != "in":
            ways.append((inside, outside))
        if what.direction != "out":
            ways.append((outside, inside))
        names = ", ".join(str(player.index) for player in players)
        self._world.note(None, f"cut: peers {names} from {len(outside)} others ({what.direction})")
        for way in ways:
            self._world.network.cut(*way)

        def heal() -> None:
            self._world.note(None, f"healed: peers {names}")
            for way in ways:
                self._world.network.mend(*way)

        self._world.after(what.for_s, heal)

    def _change_weather(self, what: Weather) -> None:
        self._weather.append(what)
        self._set_climate()

        def clear() -> None:
            self._weather.remove(what)
            self._set_climate()

        self._world.after(what.for_s, clear)

    def _set_climate(self) -> None:
        climate = self._simulation.scenario.climate
        for weather in self._weather:
            given = {item.name: getattr(weather, item.name) for item in dataclasses.fields(climate)}
            climate = dataclasses.replace(
                climate, **{name: value for name, value in given.items() if value is not None}
            )
        self._world.note(None, f"weather: {climate}")
        self._world.network.climate = climate

    def _turn(self, player: Player, what: Hostile) -> None:
        tap = self._tap_of(player)
        self._world.note(player.host, f"hostile: {what.lie}")
        rng = random.Random(self._random.random())
        scenario = self._simulation.scenario
        is_coded = {scenario.codec, scenario.mkd_codec} != {"float32"}
        tap.rewrite = tamperer = Tamperer(what.lie, share=what.share, rng=rng, is_coded=is_coded)

        def repent() -> None:
            if tap.rewrite is tamperer:
                tap.rewrite = None
                self._world.note(player.host, "no longer hostile")

        self._world.after(what.for_s, repent)
