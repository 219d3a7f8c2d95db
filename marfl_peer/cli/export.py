"""`marfl-peer export`: a peer's model as a file for `load_state_dict`."""

from __future__ import annotations

from pathlib import Path

import click

from marfl_peer.cli.options import choose, setting_options


@click.command(
    epilog="""\b
Example:
  marfl-peer export --state-dir marfl-state model.safetensors
and in Python:
  model.load_state_dict(safetensors.torch.load_file("model.safetensors"))""",
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
