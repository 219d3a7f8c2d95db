"""The commands of docs/quickstart.md: each parses, and they are those of a way that can be followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from marfl_peer.cli.main import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quickstart.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = re.findall(r"(?m)^    (\S.*)$", TEXT)
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("marfl-peer ")]


def part_of(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_parses(words: list[str]) -> None:
    context = click.Context(cli, **cli.context_settings)
    if words == ["--version"]:
        return
    name, command, rest = cli.resolve_command(context, words)
    assert command is not None
    command.make_context(name, list(rest), parent=context)


def test_one_machine_shows_everything_that_looks_at_a_swarm() -> None:
    part = part_of("One machine")
    for command in ("swarm --peers 16", "top --peer", "status", "report", "export"):
        assert f"\n    marfl-peer {command}" in part
    for path in ("/metrics", "/readyz"):
        assert path in part


def test_ports_that_are_looked_at_are_those_of_the_swarm() -> None:
    swarm = next(words for words in COMMANDS if words[:3] == ["swarm", "--peers", "16"])
    flags = dict(zip(swarm[1::2], swarm[2::2], strict=True))
    first = {"peers": int(flags["--port"]), "metrics": int(flags["--metrics-port"])}
    named = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", part_of("One machine"))}
    wanted = {port + index for port in first.values() for index in range(int(flags["--peers"]))}
    assert named
    assert named <= wanted


def test_each_way_is_a_section() -> None:
    assert re.findall(r"(?m)^## (.+)$", TEXT) == ["One machine", "Containers", "Across a LAN", "A task of your own"]


def test_containers_are_sixteen_that_are_watched_where_the_compose_file_says() -> None:
    part, compose = part_of("Containers"), (PAGE.parent.parent / "docker-compose.yml").read_text(encoding="utf-8")
    written = next(line for line in LINES if line.endswith("> .env"))
    names = re.findall(r"(MARFL_[A-Z]+)=\d+", written)
    assert "MARFL_PEERS=16" in written
    assert all(f"${{{name}:-" in compose for name in names)
    assert "profiles: [monitoring]" in compose
    assert part.count("docker compose --profile monitoring up") == 2
    [port] = re.findall(r"http://127\.0\.0\.1:(\d+)", part)
    assert f"${{GRAFANA_PORT:-{port}}}" in compose
    assert "=" not in "".join(line for line in LINES if line.startswith("docker ")), "others would make all anew"
