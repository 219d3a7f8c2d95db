"""Every message that docs/troubleshooting.md shows is one that the code can say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = "\0"
LEAST_SAID = 12
"""Characters of a message that are its own: with less, anything would match."""


def quoted() -> list[str]:
    """The lines that are shown as messages: those of code blocks that are no commands."""
    blocks = re.findall(r"(?m)^    (\S.*)$", PAGE.read_text(encoding="utf-8"))
    return [line for line in blocks if not line.startswith("marfl-peer ")]


def templates() -> Iterator[str]:
    """Every text of the package, with HOLE where a value goes in."""
    for path in sorted((ROOT / "marfl_peer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.JoinedStr():
                    parts = [str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values]
                    yield "".join(parts)
                case ast.Constant(value=str() as text):
                    yield re.sub(r"%(?:\.\d+)?[sdfgr]", HOLE, text).replace("%%", "%")


def pattern(template: str) -> re.Pattern[str]:
    """What the template can say at the end of a line."""
    return re.compile(".+?".join(re.escape(part) for part in template.split(HOLE)) + "$")


TEMPLATES = [one for one in templates() if len(one.replace(HOLE, "").strip()) >= LEAST_SAID and "\n" not in one]
QUOTING = re.compile(rf"(?!internal error)[^{HOLE}].*: {HOLE}|{HOLE}: dropped for {HOLE}: {HOLE}")
"""What only tells in which words the real message is wrapped: a line of the log that ends with its detail."""
WRAPPERS = [pattern(one.removesuffix(HOLE)).pattern.removesuffix("$") for one in TEMPLATES if QUOTING.fullmatch(one)]
PATTERNS = [pattern(one) for one in TEMPLATES if not QUOTING.fullmatch(one)]
NAMED = r"\S+: |(?:data folder|[\w.-]+): (?:'[^']*'|[\d.]+|\w+): "
"""What an error names before it says what is wrong: the setting or file, and its value."""
REFUSED = r"refused \S+: \w+: "
BEFORE = re.compile(rf"(?:{'|'.join([*WRAPPERS, REFUSED])})?(?:{NAMED})?")


def is_said(line: str) -> bool:
    """Whether a template of the code is all of the line but what may stand before it."""
    return any((found := one.search(line)) and BEFORE.fullmatch(line[: found.start()]) for one in PATTERNS)


def test_page_has_symptoms_enough() -> None:
    headings = re.findall(r"(?m)^### ", PAGE.read_text(encoding="utf-8"))
    assert len(headings) >= 15
    assert len(quoted()) >= 25


@pytest.mark.parametrize("line", quoted())
def test_message_is_in_the_code(line: str) -> None:
    assert is_said(line)


@pytest.mark.parametrize(
    "line",
    [
        "port: 7700: the port is taken by somebody",
        "state-dir: 'x': another peer is using it: stop that peer or choose another folder",
        "state on disk not used (damaged): state: 'x': the disk is damaged",
        "192.168.1.11:7700: dropped for not_finite: it sent something that is not a number",
        "everything is fine, and peer 9f3ac41d is lost: does not answer",
    ],
)
def test_message_that_nobody_says_is_found(line: str) -> None:
    assert not is_said(line)
