"""Completion as real shells do it: each loads the script, and the program says what may come next."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from marfl_peer.cli.completion import SHELLS, VARIABLE
from marfl_peer.cli.join import join

Invoke = Callable[..., Result]
ASKED = [
    ("marfl-peer sw", ["swarm"], ["join"]),
    ("marfl-peer bench ", ["aggregation", "codecs", "exchange", "scaling"], []),
    ("marfl-peer join --metr", ["--metrics-port"], ["--momentum"]),
    ("marfl-peer join --exchange ", ["butterfly", "all-gather"], []),
    ("marfl-peer completion f", ["fish"], ["bash", "zsh"]),
]


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the program in it, under the name that the scripts know."""
    program = tmp_path / "marfl-peer"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m marfl_peer "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(command: list[str], home: Path) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MARFL_")}
    environment |= {"PATH": f"{home}:{environment['PATH']}", "HOME": str(home)}
    result = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize("line", ASKED, ids=lambda line: line[0])
def test_bash_completes(home: Path, line: tuple[str, list[str], list[str]]) -> None:
    typed, offered, not_offered = line
    words = typed.split(" ")
    script = (
        'eval "$(marfl-peer completion bash)"; '
        "complete -p marfl-peer >/dev/null || exit 1; "
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; "
        '_marfl_peer_completion marfl-peer; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = run([shell("bash"), "--norc", "--noprofile", "-c", script], home)
    assert set(offered) <= set(found)
    assert not set(not_offered) & set(found)


def test_fish_completes(home: Path) -> None:
    script = 'marfl-peer completion fish | source; complete --do-complete "marfl-peer sw"'
    assert run([shell("fish"), "--no-config", "-c", script], home)[:1] == ["swarm"]


def test_zsh_loads_the_script(home: Path) -> None:
    script = 'autoload -U compinit; compinit -u; eval "$(marfl-peer completion zsh)"; echo $_comps[marfl-peer]'
    assert run([shell("zsh"), "-f", "-c", script], home) == ["_marfl_peer_completion"]


@pytest.mark.parametrize("name", SHELLS)
def test_script_asks_the_program(invoke: Invoke, name: str) -> None:
    result = invoke("completion", name)
    assert result.exit_code == 0
    assert f"{VARIABLE}={name}_complete" in result.output
    assert "marfl-peer" in result.output


@pytest.mark.parametrize(("flag", "offered"), [("--state-dir", ["file"]), ("--log-format", ["plain", "plain"])])
def test_paths_are_left_to_the_shell(flag: str, offered: list[str]) -> None:
    parameter = next(one for one in join.params if flag in one.opts)
    found = parameter.shell_complete(click.Context(join), "")
    assert [item.type for item in found] == offered


def test_other_shells_are_refused(invoke: Invoke) -> None:
    result = invoke("completion", "tcsh")
    assert result.exit_code == 2
    assert "bash" in result.stderr
