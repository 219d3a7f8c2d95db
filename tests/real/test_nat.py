"""A peer behind a masquerading router: a namespace for it, one for the others, and one for the router between them.

The others know no way into its network. With `--dial-only` it is a member like any other; without, it is told why not.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from marfl_peer.facts import GroupFinished, IterationFinished, PeerSeen, PeerStopped

OUTSIDE, ROUTER_OUTSIDE = "203.0.113.2", "203.0.113.1"
INSIDE, ROUTER_INSIDE = "192.168.79.2", "192.168.79.1"
PORT = 7701
ITERATIONS = 6
Commands = Callable[..., tuple[tuple[str, ...], dict[str, str], float]]


class Nat:
    """`inside` and `outside` are the names of namespaces; from the inside one gets out, and nobody gets in."""

    def __init__(self, stack: ExitStack) -> None:
        prefix = f"marfl-nat-{os.getpid()}"
        self.inside, self.outside, router = f"{prefix}-inside", f"{prefix}-outside", f"{prefix}-router"
        for name in (self.inside, self.outside, router):
            _do("ip", "netns", "add", name)
            stack.callback(_do, "ip", "netns", "delete", name)
            _do("ip", "-n", name, "link", "set", "lo", "up")
        for name, here, there in ((self.outside, OUTSIDE, ROUTER_OUTSIDE), (self.inside, INSIDE, ROUTER_INSIDE)):
            cable = "wan" if name == self.outside else "lan"
            _do("ip", "-n", name, "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", router)
            for space, address in ((name, here), (router, there)):
                _do("ip", "-n", space, "addr", "add", f"{address}/24", "dev", cable)
                _do("ip", "-n", space, "link", "set", cable, "up")
        _do("ip", "-n", self.inside, "route", "add", "default", "via", ROUTER_INSIDE)
        _do("ip", "netns", "exec", router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        masquerade = ("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE")
        made = subprocess.run(("ip", "netns", "exec", router, *masquerade), check=False, capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip(f"this kernel does not masquerade here: {made.stderr.strip()}")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def nat(needs_namespaces: None) -> Iterator[Nat]:
    if subprocess.run(("which", "iptables"), check=False, capture_output=True).returncode != 0:
        pytest.skip("no iptables on this machine")
    with ExitStack() as stack:
        yield Nat(stack)


def in_space(space: str, command: tuple[str, ...]) -> tuple[str, ...]:
    return ("ip", "netns", "exec", space, *command)


def test_peer_that_only_dials_takes_part_in_complete_groups_from_behind_nat(
    nat: Nat, commands: Commands, facts_of: Callable, tmp_path: Path
) -> None:
    run = ("--wait-for", "4", "--iterations", str(ITERATIONS), "--shards", "4", "--bootstrap", f"{OUTSIDE}:{PORT}")
    with ExitStack() as stack:
        running = []
        for index in range(4):
            place = ("--dial-only",) if index == 3 else ("--host", OUTSIDE, "--port", str(PORT + index))
            command, environment, patience_s = commands("join", *run, *place, "--state-dir", str(tmp_path / str(index)))
            log = stack.enter_context((tmp_path / f"{index}.log").open("wb"))
            process = subprocess.Popen(
                in_space(nat.inside if index == 3 else nat.outside, command), env=environment, stdout=log, stderr=log
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            running.append(process)
        codes = [process.wait(patience_s) for process in running]
    assert codes == [0] * 4, (tmp_path / "3.log").read_text()[-2000:]
    endings = []
    for index in range(4):
        facts = facts_of(tmp_path / str(index))
        groups = [fact for fact in facts if isinstance(fact, GroupFinished)]
        assert [(fact.outcome, len(fact.members)) for fact in groups] == [("complete", 4)] * ITERATIONS
        assert [fact for fact in facts if isinstance(fact, PeerSeen) and fact.event == "lost"] == []
        assert [fact.reason for fact in facts if isinstance(fact, PeerStopped)] == ["finished"]
        endings.append([fact.projection for fact in facts if isinstance(fact, IterationFinished)])
    assert endings == [endings[0]] * 4


def test_peer_behind_nat_that_is_to_listen_is_told_of_dial_only(nat: Nat, commands: Commands, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command, environment, patience_s = commands(*arguments, "--bootstrap", f"{OUTSIDE}:{PORT}")
        return subprocess.run(
            in_space(nat.inside, command),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )

    done = run("doctor", "--timeout", "0.5")
    said = next(line for line in done.stdout.splitlines() if "address_behind_nat" in line)
    assert INSIDE in said
    assert "--dial-only" in said
    done = run("join", "--wait-timeout-s", "1")
    assert done.returncode != 0
    assert f"others cannot dial {INSIDE}" in done.stderr
    assert "--dial-only" in done.stderr
