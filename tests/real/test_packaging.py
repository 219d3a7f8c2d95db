"""What is built for others: wheel and source have what they must, and a peer that is installed from them runs."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import marfl_peer

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in", "constraints.txt")
FOLDERS = ("marfl_peer", "examples", "tests")
KERNELS = "marfl_peer/averaging/_kernels.abi3.so"
NAME = f"marfl_peer-{marfl_peer.__version__}"
PATIENCE_S = 150.0


def run(*command: str | Path, cwd: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MARFL_", "PYTHON"))}
    environment = kept | {"OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1"}
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, built as `make dist` does, from a copy: a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    run(sys.executable, "-m", "build", "--no-isolation", cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`marfl-peer` of an environment of its own, which borrows only what the package depends on."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    wheel = wheel_in(dist)
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    packages = next(home.glob("lib/python*/site-packages"))
    # After the installation: pip must not take what is borrowed for what is there already.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import marfl_peer; print(marfl_peer.__file__)", cwd=home).strip()
    assert Path(where).is_relative_to(packages)
    return home / "bin" / "marfl-peer"


def wheel_in(dist: Path) -> Path:
    """One for all versions of Python on this machine's kind."""
    (wheel,) = dist.glob(f"{NAME}-cp311-abi3-*.whl")
    return wheel


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(content: bytes) -> Message:
    return email.message_from_bytes(content)


def test_wheel_has_the_whole_package_and_nothing_else(dist: Path) -> None:
    found = members(wheel_in(dist))
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "marfl_peer").rglob("*") if path.is_file()}
    package = {name for name in found if name.startswith("marfl_peer/")}
    built = {name for name in package if name.endswith(".so")}
    assert built <= {KERNELS}, "all else is Python"
    assert package - built == {name for name in here if "__pycache__" not in name and not name.endswith((".c", ".so"))}
    assert {"marfl_peer/py.typed", "marfl_peer/cli/starter/mytask.py.txt"} <= package
    assert all(name.startswith((f"{NAME}.dist-info/", "marfl_peer/")) for name in found)
    assert any(name.endswith("LICENSE") for name in found)


def test_wheel_says_what_it_is(dist: Path) -> None:
    found = members(wheel_in(dist))
    said = metadata(found[f"{NAME}.dist-info/METADATA"])
    assert (said["Name"], said["Version"]) == ("marfl-peer", marfl_peer.__version__)
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload(decode=True) == (ROOT / "README.md").read_bytes()
    wanted = {re.split(r"[^\w-]", line)[0] for line in said.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {"torch", "kademlia", "click"} <= wanted
    assert not {"pytest", "ruff", "build"} & wanted


def test_source_has_what_a_wheel_is_built_from(dist: Path) -> None:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        *SOURCES,
        "marfl_peer/py.typed",
        "marfl_peer/averaging/_kernels.c",
        "marfl_peer/cli/starter/README.md",
        "examples/own_task.py",
    } <= names
    assert not any(name.startswith("tests") for name in names)


def test_installed_program_tells_its_version(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "--version", cwd=tmp_path) == f"marfl-peer, version {marfl_peer.__version__}\n"


@pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="no compiler")
def test_wheel_has_its_kernels_where_there_is_a_compiler(dist: Path) -> None:
    assert KERNELS in members(wheel_in(dist))


def test_without_a_compiler_the_wheel_is_built_all_the_same(tmp_path: Path) -> None:
    for name in SOURCES:
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "marfl_peer", tmp_path / "marfl_peer", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    command = (sys.executable, "-m", "build", "--no-isolation", "--wheel")
    run("env", "CC=/does/not/exist", *command, cwd=tmp_path)
    assert KERNELS not in members(wheel_in(tmp_path / "dist"))


def test_installed_peers_learn_the_task_that_init_wrote(installed: Path, tmp_path: Path) -> None:
    run(installed, "init", "mine", cwd=tmp_path)
    told = ("--peers", "2", "--iterations", "3", "--plain", "--summary", "summary.json")
    run(installed, "swarm", "--config", "mine/marfl.toml", *told, cwd=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["task"] == "mytask:factory"
    assert (summary["peers_finished"], summary["peers_lost"]) == (2, 0)
    assert [row["disagreement"] for row in summary["iterations"]] == [0.0] * 3
    assert list((tmp_path / "mine" / "marfl-state").glob("mytask-*/peer-001/state.json"))
