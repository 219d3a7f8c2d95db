from __future__ import annotations

import asyncio
import importlib.util

import pytest

from marfl_peer.cli import loop


async def name_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_run_uses_the_chosen_loop_and_returns_the_result() -> None:
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    assert loop.run(name_of_loop()).partition(".")[0] == ("uvloop" if has_uvloop else "asyncio")


def test_run_falls_back_to_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOP_FACTORY", asyncio.new_event_loop)
    assert loop.run(name_of_loop()).startswith("asyncio")


def test_run_passes_errors_on() -> None:
    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        loop.run(fail())
