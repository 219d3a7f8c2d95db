"""What stands below a command's options in its help, like the later sections of a man page.

Knows how it is laid out, and nothing of any command.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from marfl_peer.cli.exit_codes import MEANINGS, ExitCode

WIDTH = 76
"""Of a line; the help indents them by two more."""
VERBATIM = "\b"
"""What tells click to leave the lines of a paragraph as they are."""


def manual(
    *,
    examples: Sequence[str],
    exits: Mapping[ExitCode, str],
    see_also: Sequence[str],
    arguments: Mapping[str, str] | None = None,
    notes: str = "",
) -> str:
    """The epilog of a command: its arguments, notes, examples, exit codes and where to read on.

    `exits` says what this command's codes mean; that of a wrong setting, which every command has, is added.
    """
    meanings = {ExitCode.USAGE: MEANINGS[ExitCode.USAGE], **exits}
    sections = [
        ("Arguments", _pairs(arguments or {})),
        ("Notes", textwrap.wrap(notes, WIDTH - 2)),
        ("Examples", list(examples)),
        ("Exit codes", _pairs({str(code.value): meanings[code] for code in sorted(meanings)})),
        ("See also", textwrap.wrap(", ".join(see_also), WIDTH - 2)),
    ]
    return "\n\n".join(
        "\n".join([VERBATIM, f"{title}:", *(f"  {line}" for line in lines)]) for title, lines in sections if lines
    )


def _pairs(words: Mapping[str, str]) -> list[str]:
    """Each word with what it means, which begins in the same column everywhere."""
    column = max((len(word) for word in words), default=0) + 2
    lines: list[str] = []
    for word, meaning in words.items():
        first, *others = textwrap.wrap(meaning, WIDTH - 2 - column)
        lines += [f"{word:<{column}}{first}", *(" " * column + line for line in others)]
    return lines
