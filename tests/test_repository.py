"""The repository stands alone: what its files name is in it, and they name no place where it was made."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest

import marfl_peer
from marfl_peer.cli.main import cli
from marfl_peer.cli.settings import PREFIX
from marfl_peer.config import KINDS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".ci", "docker", "docs", "examples", "marfl_peer", "scripts", "tests")
TEXTS = (".md", ".py", ".svg", ".toml", ".txt", ".yml", "")
NEIGHBOUR = "../" + "shared"
ELSEWHERE = re.compile(
    r"(?<![\w.:/])/(?:root|work|Users)/\w"  # somebody's own folders
    r"|\b(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com)\b"  # where packages come from is the user's business
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PAGES = sorted(
    path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docker/**/*.md"))
)


def texts() -> Iterator[Path]:
    """The repository's own files, relative to its root."""
    tops = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    inner = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted([*tops, ROOT / ".gitignore", ROOT / ".dockerignore", *inner]):
        if path.suffix in TEXTS and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT)


def read(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_files_name_no_place_outside_of_the_repository() -> None:
    assert len(list(texts())) > 100
    guilty = [path for path in texts() if NEIGHBOUR in read(path) and path != Path(".ci/run")]
    strange = {str(path): found[0] for path in texts() if (found := ELSEWHERE.search(read(path)))}
    assert guilty == []
    assert strange == {}


def test_places_outside_are_told_from_others() -> None:
    folders = [before + folder for before in ("", "x=", "`") for folder in ("/ro" + "ot/x", "/Us" + "ers/me")]
    assert all(ELSEWHERE.search(text) for text in (*folders, "files.pythonhosted" + ".org"))
    assert not any(ELSEWHERE.search(text) for text in ("a/root/x", "https://example.org/root/x", "/roots/x", "~/mnist"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / name if name else ROOT / page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target


def named_after(program: str) -> set[str]:
    """The words that follow a program where a page shows a command: in a code block or between backticks."""
    return {word for page in PAGES for word in re.findall(rf"(?m)(?:^    |`){program} ([a-z]+)", read(page))}


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = named_after("make")
    assert {"demo", "test"} <= named <= targets
    declared = re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)
    assert declared is not None
    assert set(declared[1].split()) == targets


def test_commands_that_pages_name_are_all_commands() -> None:
    assert named_after("marfl-peer") == set(cli.commands)


NO_SETTINGS = {"peers", "peers_here", "cpus", "memory", "image", "subnet"}
"""What the files for containers take from the environment besides."""


@pytest.mark.parametrize(
    "path",
    [
        *("docker-compose.yml", "docker/Dockerfile", "docker/compose.lan.yml", "docker/stack.yml"),
        *("docker/kubernetes.yml", "README.md", "docs/operations.md"),
    ],
)
def test_environment_variables_that_are_named_are_settings(path: str) -> None:
    named = {name.removeprefix(PREFIX).lower() for name in re.findall(rf"\b{PREFIX}[A-Z_]+", read(path))}
    assert named - set(KINDS) - NO_SETTINGS == set()


def options_of(command: click.Command) -> set[str]:
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union({"--help"}, *(options_of(one) for one in inner))


def test_flags_that_pages_name_exist() -> None:
    options = options_of(cli)
    for page in ("README.md", "docs/operations.md", "docs/architecture.md"):
        lines = [line for line in read(page).splitlines() if not re.search(r"docker|pip |scripts/", line)]
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))
        assert named
        assert named <= options


def test_image_is_built_from_files_that_are_there_and_sent() -> None:
    sent = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = [
        line.split()[1:-1] for line in read("docker/Dockerfile").splitlines() if re.match(r"COPY (?!--from)", line)
    ]
    sources = {source for group in copied for source in group}
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)


def test_package_says_what_the_project_says() -> None:
    project = PYPROJECT["project"]
    assert project["scripts"] == {"marfl-peer": "marfl_peer.cli.main:main"}
    assert metadata.version("marfl-peer") == marfl_peer.__version__
    assert f"## {marfl_peer.__version__}" in read("CHANGELOG.md")
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in read("LICENSE")
    assert "Version 2.0, January 2004" in read("LICENSE")


def test_every_direct_dependency_is_pinned_for_make_and_image() -> None:
    project = PYPROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wanted = {re.split(r"[<>=; ]", line)[0] for line in (*project["dependencies"], *extras)}
    pinned = {line.partition("==")[0] for line in read("constraints.txt").splitlines() if "==" in line}
    assert wanted <= pinned


def test_ci_runs_what_developers_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[-1] == "make test"
    assert "set -euo pipefail" in lines


def test_picture_shows_a_whole_swarm_and_fetches_nothing() -> None:
    picture = read("docs/images/swarm.svg").replace("&#160;", " ")
    assert "16 started, 16 finished, 0 lost" in picture
    assert not re.search(r"(?:href=\"|url\(\"?)https?:", picture)
