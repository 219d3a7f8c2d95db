from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marfl_peer.cli.settings import DEFAULT_PEERS, Chosen, flag_of, read_settings
from marfl_peer.config import KINDS, Settings
from marfl_peer.errors import ConfigError

NOWHERE = Path("/nonexistent")


def with_file(directory: Path, toml: str) -> Path:
    (directory / "marfl.toml").write_text(toml, encoding="utf-8")
    return directory


def read(
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path = NOWHERE,
    config_file: Path | None = None,
) -> Chosen:
    return read_settings(flags or {}, environment or {}, directory, config_file)


def test_nothing_given_is_the_defaults() -> None:
    assert read() == Chosen(settings=Settings(), stated=frozenset(), peers=DEFAULT_PEERS)


@given(
    flag=st.none() | st.integers(2, 64),
    variable=st.none() | st.integers(2, 64),
    key=st.none() | st.integers(2, 64),
)
def test_flag_wins_over_environment_over_file_over_default(
    flag: int | None, variable: int | None, key: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("d")
    if key is not None:
        with_file(directory, f"group_size = {key}")
    chosen = read(
        {"group_size": None if flag is None else str(flag)},
        {} if variable is None else {"MARFL_GROUP_SIZE": str(variable)},
        directory,
    )
    given_values = [value for value in (flag, variable, key) if value is not None]
    assert chosen.settings.group_size == (given_values[0] if given_values else Settings().group_size)
    assert chosen.stated == (frozenset({"group_size"}) if given_values else frozenset())


SPELLINGS = [
    # name, as flag or variable, in TOML, value
    ("run_id", "lab-1", '"lab-1"', "lab-1"),
    ("group_size", "5", "5", 5),
    ("group_size", " +5 ", "5", 5),
    ("lr", "0.25", "0.25", 0.25),
    ("lr", "1e-3", "1e-3", 0.001),
    ("lr", "1", "1", 1.0),
    ("target_accuracy", "0.95", "0.95", 0.95),
    ("exchange", "all-gather", '"all-gather"', "all-gather"),
    ("lan", "true", "true", True),
    ("lan", "ON", "true", True),
    ("lan", "0", "false", False),
    ("bootstrap", "a:1,b:2  c:3", '["a:1", "b:2", "c:3"]', ("a:1", "b:2", "c:3")),
    ("bootstrap", "a:1", '"a:1"', ("a:1",)),
    ("shard", "0/16", '"0/16"', "0/16"),
    ("state_dir", "/var/lib/marfl", '"/var/lib/marfl"', Path("/var/lib/marfl")),
    ("metrics_port", "0", "0", 0),
]


@pytest.mark.parametrize(("name", "text", "toml", "value"), SPELLINGS)
def test_value_is_read_alike_from_every_source(name: str, text: str, toml: str, value: object, tmp_path: Path) -> None:
    sources = [
        read({name: text}),
        read(environment={"MARFL_" + name.upper(): text}),
        read(directory=with_file(tmp_path, f"{name} = {toml}")),
    ]
    for chosen in sources:
        found = getattr(chosen.settings, name)
        assert (found, type(found)) == (value, type(value))
        assert chosen.stated == {name}


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("group_size", "four", "'four': write a whole number"),
        ("group_size", "4.0", "'4.0': write a whole number"),
        ("group_size", "1", "1: must be at least 2"),
        ("group_size", "9" * 5000, "write a whole number"),
        ("lr", "fast", "'fast': write a number"),
        ("lr", "nan", "'nan': write a number"),
        ("lr", "1.2.3", "'1.2.3': write a number"),
        ("lr", "1e999", "write a number"),
        ("lan", "maybe", "'maybe': write true or false"),
        ("exchange", "ring", "'ring': choose one of butterfly, all-gather"),
        ("state_dir", " ", "'': write a path"),
        ("bootstrap", "nowhere", "'nowhere': write HOST:PORT"),
        ("shard", "16/16", "'16/16': write I/N"),
        ("partition", "even", "'even': write iid"),
        ("codec", "int9", "'int9': write float32"),
        ("peers", "0", "0: must be at least 1"),
        ("peers", "many", "'many': write a whole number"),
    ],
)
def test_value_that_cannot_be_names_its_origin_and_remedy(name: str, text: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as from_flag:
        read({name: text})
    with pytest.raises(ConfigError) as from_variable:
        read(environment={"MARFL_" + name.upper(): text})
    assert remedy in str(from_flag.value)
    assert remedy in str(from_variable.value)
    assert str(from_flag.value).startswith(flag_of(name) + ": ")
    assert str(from_variable.value).startswith("MARFL_" + name.upper() + ": ")


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('group_size = "4"', "marfl.toml: group_size: '4': write a whole number"),
        ("group_size = 4.5", "marfl.toml: group_size: '4.5': write a whole number"),
        ("group_size = true", "marfl.toml: group_size: 'True': write a whole number"),
        ("group_size = 1", "marfl.toml: group_size: 1: must be at least 2"),
        ("lr = true", "marfl.toml: lr: 'True': write a number"),
        ("lr = nan", "marfl.toml: lr: 'nan': write a number"),
        ("lr = 1" + "0" * 400, "write a number"),
        ("lan = 1", "marfl.toml: lan: '1': write true or false"),
        ("task = 3", "marfl.toml: task: '3': write a text"),
        ("state_dir = 3", "marfl.toml: state_dir: '3': write a path"),
        ("bootstrap = [1]", "marfl.toml: bootstrap: '[1]': write a list of texts"),
        ("peers = 0", "marfl.toml: peers: 0: must be at least 1"),
        ("[task]\na = 1", "marfl.toml: task: \"{'a': 1}\": write a text"),
        ("group_sise = 4", "marfl.toml: group_sise: unknown key; did you mean group_size?"),
        ("group-size = 4", "marfl.toml: group-size: unknown key; did you mean group_size?"),
        ("xyzzy = 4", "marfl.toml: xyzzy: unknown key; marfl-peer join --help lists the settings"),
        ("config = 'x'", "marfl.toml: config: unknown key"),
        ("group_size = ", "is not valid TOML"),
        ("group_size = 4\ngroup_size = 5", "is not valid TOML"),
        ("seed = " + "9" * 5000, "is not valid TOML"),
    ],
)
def test_bad_file_is_one_clear_error(toml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(directory=with_file(tmp_path, toml))
    assert message in str(caught.value)


def test_file_that_is_not_text_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "marfl.toml").write_bytes(b"task = '\xff'")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read(directory=tmp_path)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("MARFL_GROPU_SIZE", "unknown environment variable; did you mean MARFL_GROUP_SIZE?"),
        ("MARFL_group_size", "unknown environment variable; did you mean MARFL_GROUP_SIZE?"),
        ("MARFL_PEER", "did you mean MARFL_PEERS?"),
        ("MARFL_", "unknown environment variable"),
        ("MARFL_QQQQQQQQQ", "marfl-peer join --help lists the settings"),
    ],
)
def test_unknown_variable_is_named_with_the_nearest_one(variable: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(environment={variable: "4"})
    assert str(caught.value).startswith(f"{variable}: ")
    assert hint in str(caught.value)


def test_other_programs_variables_are_not_looked_at() -> None:
    assert read(environment={"PATH": "/bin", "MARFLX_Y": "1", "marfl_group_size": "5"}) == read()


def test_empty_variable_is_not_set() -> None:
    assert read(environment={"MARFL_GROUP_SIZE": "", "MARFL_CONFIG": ""}) == read()


def test_peers_come_from_flag_environment_and_file(tmp_path: Path) -> None:
    with_file(tmp_path, "peers = 3")
    assert read(directory=tmp_path).peers == 3
    assert read(environment={"MARFL_PEERS": "4"}, directory=tmp_path).peers == 4
    assert read({"peers": "5"}, {"MARFL_PEERS": "4"}, tmp_path).peers == 5
    assert read({"peers": "5"}).stated == {"peers"}


def test_switches_and_lists_come_as_click_gives_them() -> None:
    chosen = read({"lan": False, "bootstrap": ("a:1", "b:2,c:3")}, {"MARFL_LAN": "true"})
    assert chosen.settings.lan is False
    assert chosen.settings.bootstrap == ("a:1", "b:2", "c:3")
    assert read({"bootstrap": (), "lan": None}).stated == frozenset()


def test_named_file_takes_the_place_of_the_one_in_the_directory(tmp_path: Path) -> None:
    with_file(tmp_path, "group_size = 5")
    other = tmp_path / "other.toml"
    other.write_text("seed = 9")
    for chosen in (
        read(directory=tmp_path, config_file=other),
        read(environment={"MARFL_CONFIG": "other.toml"}, directory=tmp_path),
        read(environment={"MARFL_CONFIG": "gone.toml"}, directory=tmp_path, config_file=other),
    ):
        assert (chosen.settings.seed, chosen.settings.group_size) == (9, 4)
        assert chosen.stated == {"seed"}


def test_named_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=reason) as caught:
            read(config_file=path)
        assert str(path) in str(caught.value)


def test_paths_in_the_file_start_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "m.toml").write_text('state_dir = "state"\ndata_dir = "~/data"')
    environment = {"HOME": "/home/ada"}
    settings = read(environment=environment, directory=tmp_path, config_file=folder / "m.toml").settings
    assert settings.state_dir == folder / "state"
    assert settings.data_dir == Path("/home/ada/data")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "run_id": st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
            "seed": st.integers(0, 2**32 - 1),
            "lr": st.floats(0.0, 10.0),
            "lan": st.booleans(),
            "shards": st.integers(1, 10_000),
        },
    )
)
def test_settings_written_as_variables_come_back(values: dict[str, object]) -> None:
    environment = {
        "MARFL_" + name.upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    chosen = read(environment=environment)
    assert {name: getattr(chosen.settings, name) for name in values} == values
    assert chosen.stated == frozenset(values)


@given(st.sampled_from(sorted(KINDS)), st.text(st.characters(exclude_characters="\0"), max_size=30))
def test_any_text_is_a_setting_or_a_config_error(name: str, text: str) -> None:
    try:
        chosen = read({name: text})
    except ConfigError as error:
        assert error.what == flag_of(name)
    else:
        assert chosen.stated == {name}
