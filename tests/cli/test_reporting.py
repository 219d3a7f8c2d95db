from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from marfl_peer.cli.reporting import ReportingGroup
from marfl_peer.errors import ConfigError, DhtError, LocalProtocolError, PeerLost, RemoteProtocolError


def run_raising(error: BaseException) -> Result:
    @click.group(cls=ReportingGroup)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(group, ["fail"])


@pytest.mark.parametrize(
    ("error", "line", "exit_code"),
    [
        (ConfigError("port", 7, "choose another"), "port: 7: choose another", 2),
        (ConfigError("x", None, "two\nlines"), "x: two lines", 2),
        (LocalProtocolError("bug"), "bug", 70),
        (RemoteProtocolError("bad", "bad frame"), "bad frame", 76),
        (DhtError("nobody answered"), "nobody answered", 69),
        (PeerLost("ab" * 20, "silent"), "peer abababababab is lost: silent", 69),
        (FileNotFoundError(2, "No such file", "a.json"), "a.json: No such file", 74),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [DhtError("nobody")])]), "nobody", 69),
    ],
)
def test_foreseen_error_is_one_line_and_its_exit_code(error: Exception, line: str, exit_code: int) -> None:
    result = run_raising(error)
    assert result.stderr == f"marfl-peer: error: {line}\n"
    assert result.stdout == ""
    assert result.exit_code == exit_code


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division"),
        OSError("no file in it"),
        ExceptionGroup("tasks", [DhtError("nobody"), ZeroDivisionError("division")]),
    ],
)
def test_unforeseen_error_shows_its_traceback(error: Exception) -> None:
    result = run_raising(error)
    assert "Traceback" in result.stderr
    assert "in fail" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("marfl-peer: error: internal error: ")
    assert result.exit_code == 70


def test_interrupt_ends_without_a_word() -> None:
    result = run_raising(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(click.UsageError("bad"), 2), (click.exceptions.Exit(5), 5), (click.Abort(), 1)],
)
def test_errors_of_click_are_left_to_it(error: Exception, exit_code: int) -> None:
    result = run_raising(error)
    assert result.exit_code == exit_code
    assert "internal error" not in result.output
