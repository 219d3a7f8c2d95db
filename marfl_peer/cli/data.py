"""`marfl-peer data`: get a data set onto this machine, and see whether a task can read it."""

from __future__ import annotations

import os

import click

from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import choose, setting_options


@click.group(
    epilog=manual(
        examples=("marfl-peer data fetch mnist", "marfl-peer data check --task mnist"),
        exits={ExitCode.OK: "the data are there"},
        see_also=("marfl-peer doctor", "docs/operations.md"),
    ),
)
def data() -> None:
    """Fetch and check data sets."""


@data.command(
    epilog=manual(
        arguments={
            "DATASET": "mnist or 20news",
        },
        examples=(
            "marfl-peer data fetch mnist",
            "marfl-peer data fetch 20news",
            "marfl-peer data fetch mnist --data-dir ~/mnist",
        ),
        exits={
            ExitCode.OK: "all files are there and whole",
        },
        see_also=(
            "marfl-peer data check",
            "docs/operations.md",
        ),
    ),
)
@click.argument("dataset")
@setting_options("data_dir")
def fetch(dataset: str, **flags: object) -> None:
    """Download DATASET (mnist or 20news), checked against the checksums of its files.

    Without --data-dir it goes where the task looks for it by itself. Files that are there and whole are kept.
    """
    settings = choose(flags).settings

    from marfl_peer.learning.tasks import download
    from marfl_peer.learning.tasks.folders import data_folder

    target = settings.data_dir or data_folder(dataset, os.environ)
    begun: list[str] = []

    def show(filename: str, received_bytes: int) -> None:
        if filename not in begun:
            begun.append(filename)
            click.echo(f"fetching {filename}")

    download.fetch(dataset, target, progress=show)
    click.echo(f"{dataset} is in {target}")


@data.command(
    epilog=manual(
        examples=(
            "marfl-peer data check --task mnist --data-dir ~/mnist",
            "marfl-peer data check --task 20news --encoder minilm",
            "marfl-peer data check --task my_package.my_module:factory",
        ),
        exits={
            ExitCode.OK: "a peer could train on the data",
        },
        see_also=(
            "marfl-peer data fetch",
            "marfl-peer doctor",
            "docs/operations.md",
        ),
    ),
)
@setting_options("task", "task_dir", "encoder", "data_dir")
def check(**flags: object) -> None:
    """Load a task's data as a peer would, and say what is there.

    With an encoder that takes its time this does its work, and peers find what it gave.
    """
    settings = choose(flags).settings

    from marfl_peer.learning.tasks.registry import load_task

    task = load_task(settings.task, encoder=settings.encoder, data_dir=settings.data_dir, folder=settings.task_dir)
    loaded = task.load(settings.data_dir)
    train, test = loaded.train_inputs, loaded.test_inputs
    shape = "x".join(str(size) for size in train.shape[1:])
    click.echo(f"{settings.task}: {len(train):,} training and {len(test):,} test samples of {shape}")
