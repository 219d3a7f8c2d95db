"""The shape of the house: who may import whom, what `protocol/` must not know, and that every module has its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "marfl_peer"
WORDS = ("errors", "ids", "clock", "config", "facts", "disk")
ROOMS = ("protocol", "averaging", "learning", "network", "observe", "peer", "lab", "cli")
"""From the bottom up: a room imports from those before it, and from the words everybody shares."""
FORBIDDEN_IN_PROTOCOL = {"asyncio", "socket", "ssl", "time", "random", "torch", "os", "threading", "numpy"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
WITHOUT_TEST = {"__init__.py", "__main__.py"}


@dataclass(frozen=True, slots=True)
class Import:
    """`target` is the dotted name of a module, or of something in a module."""

    target: str
    line: int
    is_local: bool
    """Inside a function or method."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[Import]:
    return list(_imports(ast.parse(path.read_text()), is_local=False))


def _imports(node: ast.AST, *, is_local: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                yield from (Import(alias.name, child.lineno, is_local) for alias in child.names)
            case ast.ImportFrom():
                assert child.level == 0, "relative imports hide the room they reach into"
                for alias in child.names:
                    yield Import(f"{child.module}.{alias.name}", child.lineno, is_local)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, is_local=True)
            case _:
                yield from _imports(child, is_local=is_local)


def room_of(dotted: str) -> str | None:
    """The room, or word, that a name of the package belongs to; None for the package itself."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and (parts[1] in ROOMS or parts[1] in WORDS) else None


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_point_down(path: Path) -> None:
    room = room_of(name_of(path))
    if room is None:
        return  # the package's own __init__ and __main__ stand above all rooms
    order = [*WORDS, *ROOMS]
    upward = [
        f"line {found.line}: {found.target}"
        for found in imports_of(path)
        if found.target.startswith("marfl_peer.")
        and (target := room_of(found.target)) is not None
        and order.index(target) > order.index(room)
    ]
    assert upward == []


def test_observe_does_not_know_the_peer_or_its_network() -> None:
    for path in (PACKAGE / "observe").rglob("*.py"):
        known = {room_of(found.target) for found in imports_of(path) if found.target.startswith("marfl_peer.")}
        assert known <= {*WORDS, "observe", None}, relative(path)


def test_words_import_only_words() -> None:
    for word in WORDS:
        targets = [found.target for found in imports_of(PACKAGE / f"{word}.py")]
        assert {room_of(target) for target in targets if target.startswith("marfl_peer.")} <= set(WORDS), word


@pytest.mark.parametrize("path", sorted((PACKAGE / "protocol").rglob("*.py")), ids=relative)
def test_protocol_has_no_io_no_time_and_no_chance(path: Path) -> None:
    tops = {found.target.split(".")[0] for found in imports_of(path)}
    assert tops & FORBIDDEN_IN_PROTOCOL == set()


def test_only_the_dht_room_knows_kademlia() -> None:
    for path in modules():
        tops = {found.target.split(".")[0] for found in imports_of(path)}
        if tops & {"kademlia", "rpcudp"}:
            assert path.is_relative_to(PACKAGE / "network" / "dht"), relative(path)


def test_only_learning_rooms_know_scikit_learn() -> None:
    for path in modules():
        if "sklearn" in {found.target.split(".")[0] for found in imports_of(path)}:
            assert path.is_relative_to(PACKAGE / "learning"), relative(path)


def test_modules_have_no_cycles() -> None:
    known = {name_of(path): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {found.target for found in imports_of(path)}
        # `from a.b import c` names the module a.b.c, or something in a.b
        reached = {target if target in known else target.rpartition(".")[0] for target in targets}
        graph[name] = (reached & set(known)) - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_no_import_inside_a_function_but_for_heavy_ones_in_cli() -> None:
    for path in modules():
        if path.is_relative_to(PACKAGE / "cli"):
            continue
        local = [f"line {found.line}: {found.target}" for found in imports_of(path) if found.is_local]
        assert local == [], relative(path)


@pytest.mark.parametrize("path", [path for path in modules() if path.name not in WITHOUT_TEST], ids=relative)
def test_every_module_has_its_test(path: Path) -> None:
    twin = ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.name}"
    assert twin.is_file(), f"{relative(twin)} is missing"
    tests = [node.name for node in ast.walk(ast.parse(twin.read_text())) if isinstance(node, ast.FunctionDef)]
    assert any(name.startswith("test_") for name in tests), f"{relative(twin)} tests nothing"


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_modules_are_named_by_what_they_know_and_say_so(path: Path) -> None:
    assert path.stem not in VAGUE
    source = path.read_text()
    if source.strip():
        docstring = ast.get_docstring(ast.parse(source), clean=False)
        assert docstring, "a module opens with what it knows"
        assert len(docstring.strip().splitlines()) <= 12, "a few lines, not an essay"


def test_a_local_import_would_be_found() -> None:
    """The checks above are only as good as their eyes."""
    source = "import a\nclass C:\n    import b\n    def f(self):\n        from c import d\n"
    found = {(item.target, item.is_local) for item in _imports(ast.parse(source), is_local=False)}
    assert found == {("a", False), ("b", False), ("c.d", True)}
