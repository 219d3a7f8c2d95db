"""The command of a run, read back by the command line itself."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

import click
import pytest

from marfl_peer.cli.main import cli
from marfl_peer.cli.options import choose
from marfl_peer.cli.swarm import swarm
from marfl_peer.config import Settings
from marfl_peer.lab.commands import swarm_command


def test_defaults_are_left_out() -> None:
    settings = Settings(shards=8, state_dir=Path("somewhere"))
    assert swarm_command(settings, 8) == "marfl-peer swarm --peers 8"


def test_churn_is_as_the_user_named_it() -> None:
    assert swarm_command(Settings(shards=2), 2, "my plan.toml") == "marfl-peer swarm --peers 2 --churn 'my plan.toml'"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(codec="theta=int8,momentum=topk:0.1", lr=0.02, overlap=True, target_accuracy=0.9, shards=20),
        Settings(bootstrap=("127.0.0.1:1", "127.0.0.1:2"), data_dir=Path("a folder"), trace_mixing=True),
    ],
)
def test_command_line_reads_back_what_was_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MARFL_")]:
        monkeypatch.delenv(name)
    words = shlex.split(swarm_command(settings, 16))
    context = swarm.make_context("swarm", words[2:], parent=click.Context(cli, **cli.context_settings))
    flags = {name: value for name, value in context.params.items() if name not in ("summary", "churn", "plain")}
    chosen = choose(flags)
    assert chosen.peers == 16
    assert dataclasses.replace(chosen.settings) == settings
