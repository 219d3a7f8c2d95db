"""`marfl-peer completion`: what makes a shell complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.reporting import PROGRAM

SHELLS = ("bash", "zsh", "fish")
VARIABLE = f"_{PROGRAM.upper().replace('-', '_')}_COMPLETE"
"""In the environment of a `marfl-peer` that is asked what comes next, and not to run."""


@click.command(
    epilog=manual(
        arguments={"SHELL": ", ".join(SHELLS)},
        notes="The shell asks marfl-peer itself, so what it offers is always that of the installed release.",
        examples=(
            'eval "$(marfl-peer completion bash)"      # in ~/.bashrc; bash 4.4 or newer',
            'eval "$(marfl-peer completion zsh)"       # in ~/.zshrc, after compinit',
            "marfl-peer completion fish > ~/.config/fish/completions/marfl-peer.fish",
        ),
        exits={ExitCode.OK: "the script is printed"},
        see_also=("marfl-peer --help", "docs/quickstart.md"),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script that lets a shell complete this program's commands, options and values.

    It changes nothing: where the script goes is up to the shell's own settings, as in the examples.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows all of SHELLS"
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
