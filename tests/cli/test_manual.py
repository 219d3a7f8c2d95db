from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from marfl_peer.cli import main as module
from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import WIDTH, manual
from marfl_peer.cli.options import choose
from marfl_peer.config import KINDS
from marfl_peer.errors import ConfigError

ROOT = Path(__file__).parents[2]
SECTIONS = ("Examples:", "Exit codes:", "See also:")
Invoke = Callable[..., Result]


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below this one, with the words that call it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield (*path, name), inner
            yield from walk(inner, (*path, name))


COMMANDS = dict(walk(module.cli))


def section(text: str, title: str) -> list[str]:
    """The lines of a section of a help text, without those that are wrapped."""
    body = re.search(rf"^  {title}\n((?:    .*\n?)+)", text, re.MULTILINE)
    assert body is not None, f"no {title}"
    return [line.strip() for line in body[1].splitlines()]


def command_lines(examples: list[str]) -> Iterator[list[str]]:
    """What follows `marfl-peer` in each example: without what is set before it, piped behind it or said about it."""
    for example in examples:
        inner = re.search(r"\$\((.*)\)", example)
        words = shlex.split((inner[1] if inner else example).split("  #")[0])
        while "=" in words[0]:
            del words[0]
        assert words[0] == "marfl-peer", example
        ends = [words.index(mark) for mark in ("|", ">") if mark in words]
        yield words[1 : min(ends, default=None)]


def parse(words: list[str]) -> None:
    """As the program would, up to where the command does something. Raises: click.ClickException, ConfigError."""
    context, command = click.Context(module.cli, **module.cli.context_settings), module.cli
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        assert name is not None
        command = found  # type: ignore[assignment]  # a group or a command
        if not isinstance(command, click.Group):
            context = command.make_context(name, list(words), parent=context)
            break
        context = click.Context(command, info_name=name, parent=context)
    flags = {name: value for name, value in context.params.items() if name in KINDS or name == "config"}
    config = flags.get("config")
    if isinstance(config, Path):
        config.parent.mkdir(exist_ok=True)
        config.touch()
    if command.name != "codecs":
        choose(flags)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command_is_a_page_of_a_manual(invoke: Invoke, path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output
    places = [result.output.find(f"\n  {title}\n") for title in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)
    arguments = [parameter for parameter in COMMANDS[path].params if isinstance(parameter, click.Argument)]
    if arguments:
        explained = section(result.output, "Arguments:")
        assert all(any(line.startswith(f"{one.human_readable_name} ") for line in explained) for one in arguments)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_examples_of_every_command_parse(
    invoke: Invoke, path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    examples = section(invoke(*path, "--help").output, "Examples:")
    lines = list(command_lines(examples))
    assert any(words[: len(path)] == list(path) for words in lines), "none of them is of this command"
    for words in lines:
        parse(words)


def test_examples_of_the_program_itself_parse(invoke: Invoke) -> None:
    lines = list(command_lines(section(invoke("--help").output, "Examples:")))
    assert len(lines) == 3
    for words in lines:
        parse(words)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("swarm --peeers 4", click.UsageError),
        ("dance", click.UsageError),
        ("status", click.UsageError),
        ("bench exchange extra", click.UsageError),
        ("join --codec zip", ConfigError),
    ],
)
@pytest.mark.usefixtures("invoke")
def test_example_that_does_not_parse_is_found(words: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse(shlex.split(words))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_exit_codes_of_every_command_are_declared(invoke: Invoke, path: tuple[str, ...]) -> None:
    codes = [
        int(line.split()[0]) for line in section(invoke(*path, "--help").output, "Exit codes:") if line[0].isdigit()
    ]
    assert codes == sorted(set(codes))
    assert {0, 2} <= set(codes) <= {code.value for code in ExitCode}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_a_help_refers_to_is_there(invoke: Invoke, path: tuple[str, ...]) -> None:
    named = " ".join(section(invoke(*path, "--help").output, "See also:")).split(", ")
    for name in named:
        if name.startswith("docs/"):
            assert (ROOT / name).is_file(), name
            continue
        program, *words = name.removesuffix(" --help").split()
        assert program == "marfl-peer"
        assert not words or tuple(words) in COMMANDS, name
        assert tuple(words) != path, "refers to itself"


def test_lines_fit_a_terminal_and_sections_without_content_are_left_out() -> None:
    text = manual(
        arguments={"FILE": "word " * 40},
        examples=("marfl-peer status 127.0.0.1:7700",),
        exits={ExitCode.UNAVAILABLE: "nobody " * 30, ExitCode.OK: "fine"},
        see_also=("marfl-peer top",),
    )
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "Notes:" not in text
    assert re.findall(r"(?m)^  (\d+) ", text) == ["0", "2", "69"]
    assert "Notes:" in manual(examples=("marfl-peer",), exits={}, see_also=("x",), notes="Read this.")
