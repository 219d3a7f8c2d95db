"""`marfl-peer doctor`: what could keep a peer from running here, with the remedy, before it is started."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marfl_peer.cli import loop
from marfl_peer.cli.exit_codes import ExitCode
from marfl_peer.cli.manual import manual
from marfl_peer.cli.options import SettingsCommand, choose, setting_options
from marfl_peer.clock import Clock
from marfl_peer.peer.doctor.findings import Finding, worst

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
EXIT_CODES = {"ok": ExitCode.OK, "warn": ExitCode.WARNINGS, "fail": ExitCode.FAILED}


@click.command(
    cls=SettingsCommand,
    epilog=manual(
        examples=(
            "marfl-peer doctor --bootstrap 192.168.1.10:7700",
            "marfl-peer doctor --peers 16 --task mnist --data-dir ~/mnist --json",
        ),
        exits={
            ExitCode.OK: "all is well",
            ExitCode.FAILED: "something keeps a peer from running",
            ExitCode.WARNINGS: "there are warnings, and nothing worse",
        },
        see_also=(
            "marfl-peer join",
            "marfl-peer data check",
            "docs/operations.md",
            "docs/troubleshooting.md",
        ),
    ),
)
@click.option("--peers", metavar="INTEGER", help="peers that are planned on this machine [default: 1]")
@click.option("--ntp", metavar="SERVER", help="a time server to compare the clock with; without it none is asked")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="seconds")
@click.option("--json", "as_json", is_flag=True, help="print JSON in place of a table")
@setting_options()
@click.pass_context
def doctor(ctx: click.Context, /, ntp: str | None, timeout_s: float, as_json: bool, **flags: object) -> None:
    """Check this machine for a peer that is to be started with the same settings as `join`.

    Ports, address, firewall, bootstrap peers, clocks, versions, memory, processors, folders and data. Nothing is sent
    to anybody but the bootstrap peers and the server of --ntp.
    """
    chosen = choose(flags)
    from marfl_peer.peer.doctor.examination import Plan, examine

    peers = chosen.peers if "peers" in chosen.stated else 1
    plan = Plan(settings=chosen.settings, stated=chosen.stated - {"peers"}, peers=peers, ntp=ntp, timeout_s=timeout_s)
    findings = loop.run(examine(plan, clock=Clock()))
    verdict = worst(findings).value
    if as_json:
        click.echo(json.dumps({"verdict": verdict, "findings": [as_dict(one) for one in findings]}, indent=2))
    else:
        show(findings, Console())
    ctx.exit(EXIT_CODES[verdict])


def as_dict(finding: Finding) -> dict[str, str | None]:
    """For programs."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "seen": finding.seen,
        "remedy": finding.remedy or None,
    }


def show(findings: Sequence[Finding], console: Console) -> None:
    """A table on a terminal, else a line for each finding."""
    if not console.is_terminal:
        for one in findings:
            remedy = f" -> {one.remedy}" if one.remedy else ""
            click.echo(f"{one.severity.value:4} {one.code}: {_clean(one.seen)}{_clean(remedy)}")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "check", "seen, and what to do"):
        table.add_column(title, overflow="fold")
    for one in findings:
        words = Text(_clean(one.seen))
        if one.remedy:
            words.append(f"\n{_clean(one.remedy)}", style="bold" if one.severity.value != "ok" else "dim")
        table.add_row(Text(one.severity.value, style=STYLES[one.severity.value]), Text(one.code), words)
    console.print(table)


def _clean(text: str) -> str:
    """What other peers said must not steer the terminal."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode("ascii") for part in text)
