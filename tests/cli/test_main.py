from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result

import marfl_peer
from marfl_peer.cli import main as module
from marfl_peer.cli.exit_codes import MEANINGS

Invoke = Callable[..., Result]


def test_version(invoke: Invoke) -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"marfl-peer, version {marfl_peer.__version__}\n")


def test_help_lists_commands_and_exit_codes(invoke: Invoke) -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    commands = [
        "join",
        "swarm",
        "simulate",
        "report",
        "bench",
        "top",
        "status",
        "doctor",
        "data",
        "export",
        "init",
        "completion",
    ]
    assert list(module.cli.commands) == commands
    for name in module.cli.commands:
        assert f"\n  {name} " in result.output
    for code, meaning in MEANINGS.items():
        assert f" {code.value}  {meaning}\n" in result.output


@pytest.mark.parametrize(
    "arguments", [("join",), ("swarm",), ("status",), ("data", "fetch"), ("data", "check"), ("export",)]
)
def test_every_command_shows_examples(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments, "-h")
    assert result.exit_code == 0
    assert f"  marfl-peer {' '.join(arguments)}" in result.output.partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dance",), "No such command 'dance'"),
        (("join", "--grop-size", "4"), "'--group-size'"),
        (("join", "extra"), "unexpected extra argument"),
        (("join", "--port"), "requires an argument"),
        (("status",), "Missing argument 'HOST:PORT'"),
        (("export",), "Missing argument 'OUT.safetensors'"),
    ],
)
def test_wrong_use_is_exit_code_2(invoke: Invoke, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("command", [("join",), ("swarm",), ("data", "check"), ("export", "m.safetensors")])
def test_unknown_variable_stops_every_command_that_has_settings(invoke: Invoke, command: tuple[str, ...]) -> None:
    result = invoke(*command, MARFL_GROPU_SIZE="4")
    assert result.exit_code == 2
    assert result.stderr == (
        "marfl-peer: error: MARFL_GROPU_SIZE: unknown environment variable; did you mean MARFL_GROUP_SIZE?\n"
    )


def test_module_runs_as_the_console_script_does() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "marfl_peer", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == f"marfl-peer, version {marfl_peer.__version__}\n"


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, marfl_peer.cli.main; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "False False\n"
