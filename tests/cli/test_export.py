from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import Result

from marfl_peer.errors import ConfigError

Invoke = Callable[..., Result]
StandIn = Callable[..., ModuleType]


@pytest.mark.parametrize(
    ("arguments", "environment", "state_dir"),
    [
        ((), {}, "marfl-state"),
        (("--state-dir", "a"), {}, "a"),
        ((), {"MARFL_STATE_DIR": "b"}, "b"),
    ],
)
def test_model_is_written_and_described(
    invoke: Invoke, stand_in: StandIn, arguments: tuple[str, ...], environment: dict[str, str], state_dir: str
) -> None:
    calls: list[tuple[Path, Path]] = []

    def export_model(state: Path, out: Path) -> dict[str, int]:
        calls.append((state, out))
        return {"iteration": 30, "parameters": 1_199_882, "bytes": 4_800_000}

    stand_in("marfl_peer.peer.store", export_model=export_model)
    result = invoke("export", *arguments, "model.safetensors", **environment)
    assert result.exit_code == 0
    assert calls == [(Path(state_dir), Path("model.safetensors"))]
    assert result.output == ("model.safetensors: model after iteration 30, 1,199,882 parameters, 4,800,000 bytes\n")


def test_state_that_is_not_there_is_one_line(invoke: Invoke, stand_in: StandIn) -> None:
    def export_model(state: Path, out: Path) -> dict[str, int]:
        raise ConfigError("state-dir", str(state), "no peer saved a state there")

    stand_in("marfl_peer.peer.store", export_model=export_model)
    result = invoke("export", "m.safetensors")
    assert result.exit_code == 2
    assert result.stderr == "marfl-peer: error: state-dir: 'marfl-state': no peer saved a state there\n"
