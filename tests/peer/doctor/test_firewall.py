from __future__ import annotations

import subprocess

import pytest

from marfl_peer.peer.doctor import firewall
from marfl_peer.peer.doctor.findings import Severity
from marfl_peer.peer.doctor.firewall import FirewallSeen, judge_firewall, look_at_firewall

OPEN = "table inet filter {\n chain input {\n  type filter hook input priority 0; policy accept;\n }\n}"
CLOSED = """table inet filter {
 chain input {
  type filter hook input priority filter; policy drop;
  tcp dport 22 accept
  %s
 }
}"""
IPTABLES = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n%s\nCOMMIT"
LAST = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp --dport 53 -j ACCEPT\n-A INPUT -j REJECT --reject-with x\nCOMMIT"


@pytest.mark.parametrize(
    ("tool", "rules", "code", "remedy"),
    [
        ("nft", OPEN, "firewall", ""),
        ("nft", CLOSED % "", "firewall_closed", "let TCP and UDP port 7700 in: `sudo nft"),
        ("nft", CLOSED % "tcp dport { 80, 7700 } accept", "firewall_closed", "let UDP port 7700 in"),
        ("nft", CLOSED % "tcp dport 7000-8000 accept\n udp dport 7700 accept", "firewall", ""),
        ("nft", CLOSED % "tcp dport 7700 drop\n udp dport 7700 accept", "firewall_closed", "let TCP port 7700 in"),
        ("iptables-save", IPTABLES % "", "firewall_closed", "sudo iptables -I INPUT -p tcp --dport 7700 -j ACCEPT"),
        (
            "iptables-save",
            IPTABLES % "-A INPUT -p tcp --dport 7700 -j ACCEPT\n-A INPUT -p udp --dport 7690:7710 -j ACCEPT",
            "firewall",
            "",
        ),
        ("iptables-save", LAST, "firewall_closed", "TCP and UDP"),
    ],
)
def test_rules_are_read_for_the_port(tool: str, rules: str, code: str, remedy: str) -> None:
    finding = judge_firewall(FirewallSeen(port=7700, rules={tool: rules}))
    assert finding.code == code
    assert remedy in finding.remedy
    assert (finding.severity is Severity.OK) == (not remedy)


def test_rules_that_only_root_may_read_are_a_hint() -> None:
    finding = judge_firewall(FirewallSeen(port=7700, rules={}, unreadable=("nft",)))
    assert (finding.code, finding.severity) == ("firewall_unknown", Severity.OK)
    assert "sudo nft list ruleset" in finding.remedy


def test_machine_without_a_filter_is_said_to_be_one() -> None:
    assert "no nft" in judge_firewall(FirewallSeen(port=7700, rules={})).seen


def test_tools_are_asked_for_their_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "nft" in arguments[0]:
            return subprocess.CompletedProcess(arguments, 1, "", "Operation not permitted")
        return subprocess.CompletedProcess(arguments, 0, IPTABLES % "", "")

    monkeypatch.setattr(firewall.shutil, "which", lambda tool, path: f"/usr/sbin/{tool}")
    monkeypatch.setattr(firewall.subprocess, "run", run)
    seen = look_at_firewall(7700)
    assert (seen.unreadable, list(seen.rules)) == (("nft",), ["iptables-save"])
