"""`marfl-peer export`: a peer's model as a file for `load_state_dict`."""

from __future__ import annotations

from pathlib import Path

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import choose, setting_options


@click.command(
    epilog=manual(
        arguments={
            "OUT.safetensors": "the file to write; one that is there is replaced",
        },
        notes='In Python: model.load_state_dict(safetensors.torch.load_file("model.safetensors"))',
        examples=("marfl-peer export --state-dir marfl-state model.safetensors",),
        exits={
            ExitCode.OK: "the file is written",
        },
        see_also=(
            "marfl-peer join",
            "docs/operations.md",
        ),
    ),
)
@setting_options("state_dir")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.safetensors")
def export(out: Path, **flags: object) -> None:
    """Write the model that a peer saved last as a safetensors file."""
    settings = choose(flags).settings

    from marfl_peer.peer.store import export_model

    written = export_model(settings.state_dir, out)
    click.echo(
        f"{out}: model after iteration {written['iteration']}, "
        f"{written['parameters']:,} parameters, {written['bytes']:,} bytes"
    )
