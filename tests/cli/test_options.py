from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from marfl_peer.cli.join import join
from marfl_peer.cli.options import choose, metavar, setting_options, written_default
from marfl_peer.cli.settings import flag_of
from marfl_peer.config import Settings, shared_names
from marfl_peer.errors import ConfigError

NAMES = [item.name for item in dataclasses.fields(Settings)]


def test_every_setting_has_an_option_with_its_help_and_default() -> None:
    options = {parameter.name: parameter for parameter in join.params}
    assert list(options) == ["config", *NAMES]
    for name in NAMES:
        option = options[name]
        assert isinstance(option, click.Option)
        assert option.opts == [flag_of(name)]
        assert option.help is not None
        assert next(item for item in dataclasses.fields(Settings) if item.name == name).metadata["help"] in option.help
        assert (f"[default: {written_default(name)}]" in option.help) == bool(written_default(name))


def test_help_keeps_shared_and_own_settings_apart() -> None:
    text = CliRunner().invoke(join, ["--help"]).output
    _, of_run, of_peer = text.replace("Settings of this peer:", "Settings of the run").split("Settings of the run")
    for name in NAMES:
        place = of_run if name in shared_names() else of_peer
        assert f"  {flag_of(name)} " in place, name


def test_some_settings_only() -> None:
    received: dict[str, object] = {}

    @click.command()
    @setting_options("port", "lan", "bootstrap")
    def command(**flags: object) -> None:
        received.update(flags)

    result = CliRunner().invoke(command, ["--port", "x", "--no-lan", "--bootstrap", "a:1", "--bootstrap", "b:2"])
    assert result.exit_code == 0, result.output
    assert received == {"config": None, "port": "x", "lan": False, "bootstrap": ("a:1", "b:2")}
    assert CliRunner().invoke(command, ["--seed", "1"]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "stands_for", "default"),
    [
        ("group_size", "INTEGER", "4"),
        ("exchange", "butterfly|all-gather", "butterfly"),
        ("shard", "I/N", ""),
        ("bootstrap", "HOST:PORT", ""),
        ("lan", "", "false"),
        ("state_dir", "PATH", "marfl-state"),
    ],
)
def test_values_and_defaults_are_written_for_people(name: str, stands_for: str, default: str) -> None:
    assert metavar(name) == stands_for
    assert written_default(name) == default


def test_choose_reads_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARFL_SEED", "8")
    monkeypatch.delenv("MARFL_DATA_DIR", raising=False)
    (tmp_path / "marfl.toml").write_text("seed = 7\nport = 1")
    (tmp_path / "other.toml").write_text("port = 2")
    assert choose({"config": None, "lr": "0.5"}).stated == {"seed", "port", "lr"}
    chosen = choose({"config": Path("other.toml"), "lr": None})
    assert (chosen.settings.seed, chosen.settings.port) == (8, 2)
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        choose({"config": Path("gone.toml")})
