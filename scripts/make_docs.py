"""Writes docs/settings.md from the declarations in the code: settings, metrics and exit codes.

python scripts/make_docs.py          writes the page
python scripts/make_docs.py --check  exit code 1 if the page is not what would be written
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from marfl_peer.cli.exit_codes import MEANINGS
from marfl_peer.cli.options import metavar, written_default
from marfl_peer.cli.settings import CONFIG_FILE, DEFAULT_PEERS, PREFIX, flag_of
from marfl_peer.config import KINDS, Kind, Settings
from marfl_peer.observe.measures import MEASURES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

INTRODUCTION = f"""# Settings, metrics, exit codes

This page is written by `scripts/make_docs.py`: change the code, not the page.

## Settings

A value comes from the first of these that has one: flag, environment variable, `{CONFIG_FILE}`, default. The file
is `{CONFIG_FILE}` in the working directory, or what `--config FILE` or `{PREFIX}CONFIG` names; its keys are the names
below, and a relative path in it starts from its folder. Unknown keys and unknown `{PREFIX}*` variables are errors. An
empty variable counts as not set. A list is written with commas or spaces in flags and variables, as an array of strings
in the file.

*Shared* settings belong to the run: whoever joins a run that is going adopts them, and a value given that differs
is an error. `marfl-peer swarm` also knows `--peers` (`{PREFIX}PEERS`, `peers`; default {DEFAULT_PEERS}), and cuts the
training set into as many shards unless `shards` is given.
"""

METRICS_INTRODUCTION = """## Metrics

With `--metrics-port PORT` a peer serves `/metrics` for Prometheus, `/healthz` (200, or 503 after it failed or its event
loop stalled) and `/readyz` (200 while it is one of the peers of a view, else 503). Histograms are in seconds.
"""


def render() -> str:
    """The page."""
    return "\n".join(
        [
            INTRODUCTION,
            *table(("setting", "flag", "environment", "values", "default", "shared", "meaning"), setting_rows()),
            "",
            METRICS_INTRODUCTION,
            *table(("metric", "type", "labels", "meaning"), metric_rows()),
            "",
            "## Exit codes\n",
            *table(("code", "meaning"), ((str(code.value), text) for code, text in MEANINGS.items())),
            "",
        ]
    )


def setting_rows() -> Iterable[tuple[str, ...]]:
    for item in dataclasses.fields(Settings):
        flag = flag_of(item.name)
        is_switch = KINDS[item.name] is Kind.SWITCH
        yield (
            f"`{item.name}`",
            f"`{flag}`, `--no-{flag[2:]}`" if is_switch else f"`{flag}`",
            f"`{PREFIX}{item.name.upper()}`",
            "true, false" if is_switch else values(item.name, item.metadata),
            f"`{written_default(item.name)}`" if written_default(item.name) else "",
            "yes" if item.metadata["shared"] else "",
            item.metadata["help"],
        )


def values(name: str, limits: Mapping[str, float | None]) -> str:
    """What may stand for a setting: `INTEGER`, 2 to 64."""
    written = f"`{metavar(name)}`"
    minimum, maximum = limits["minimum"], limits["maximum"]
    if limits["above"] is not None:
        written = f"{written}, above {limits['above']:g}"
    match minimum, maximum:
        case None, None:
            return written
        case _, None:
            return f"{written}, at least {minimum:g}"
        case None, _:
            return f"{written}, at most {maximum}"
    return f"{written}, {minimum:g} to {maximum}"


def metric_rows() -> Iterable[tuple[str, ...]]:
    for measure in MEASURES:
        yield (f"`{measure.name}`", measure.shape.value, ", ".join(measure.labels), measure.meaning)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def main() -> int:
    if "--check" in sys.argv[1:]:
        is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == render()
        print(f"{PAGE} is {'up to date' if is_current else 'not up to date: run scripts/make_docs.py'}")
        return 0 if is_current else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
