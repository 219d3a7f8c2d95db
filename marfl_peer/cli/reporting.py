"""How commands fail: every foreseen error is one line on stderr and its exit code, every other one a bug.

Knows the errors, and nothing of what the commands do.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import NoReturn

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.errors import MarflError

PROGRAM = "marfl-peer"


class ReportingGroup(click.Group):
    """A group of commands whose errors are reported as this module says."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return ctx.exit(ExitCode.INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            return _fail(ctx, error)


def _fail(ctx: click.Context, error: Exception) -> NoReturn:
    leaf = next(_leaves(error))
    if isinstance(leaf, MarflError):
        message, exit_code = str(leaf), leaf.exit_code
    elif isinstance(leaf, OSError) and leaf.filename is not None:
        message, exit_code = f"{leaf.filename}: {leaf.strerror}", ExitCode.FILE
    else:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        message, exit_code = f"internal error: {type(leaf).__name__}: {leaf}", ExitCode.INTERNAL
    click.echo(f"{PROGRAM}: error: {' '.join(message.split())}", err=True)
    ctx.exit(exit_code)


def _leaves(error: Exception) -> Iterator[Exception]:
    """The errors inside groups, the foreseen ones last: a bug beside them must not hide."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    found = [leaf for part in error.exceptions for leaf in _leaves(part)]
    yield from sorted(found, key=lambda leaf: isinstance(leaf, MarflError))
