"""A command line in a directory and an environment of its own, and stand-ins for the rooms behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from marfl_peer.cli.main import cli

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs `marfl-peer ARGUMENTS` in an empty directory, with no MARFL_* variable but those given."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("MARFL_"):
            monkeypatch.delenv(variable)

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli, arguments, env=environment)

    return run


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Puts a module with these contents in the place of another: commands import torch's rooms only when run."""

    def put(name: str, **contents: object) -> ModuleType:
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put
