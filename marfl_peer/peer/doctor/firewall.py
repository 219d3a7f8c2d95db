"""This machine's packet filter: whether it seems to let others in. Its rules are root's to read."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from marfl_peer.peer.doctor.findings import Finding, ok, warn

READ_S = 5.0
_READERS = (("nft", ("list", "ruleset")), ("iptables-save", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallSeen:
    """`rules` by the tool that showed them; `unreadable`: tools that are there and did not."""

    port: int
    rules: dict[str, str]
    unreadable: tuple[str, ...] = ()


def look_at_firewall(port: int) -> FirewallSeen:
    """Asks the tools that are installed for their rules; changes none."""
    rules, unreadable = {}, []
    for tool, arguments in _READERS:
        path = shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin")
        if path is None:
            continue
        try:
            done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=READ_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            unreadable.append(tool)
            continue
        if done.returncode == 0:
            rules[tool] = done.stdout
        else:
            unreadable.append(tool)
    return FirewallSeen(port=port, rules=rules, unreadable=tuple(unreadable))


def judge_firewall(seen: FirewallSeen) -> Finding:
    for tool, rules in seen.rules.items():
        if not _is_closed(rules):
            continue
        shut = [kind for kind in ("tcp", "udp") if not _is_let_in(rules, kind, seen.port)]
        if shut:
            words = " and ".join(kind.upper() for kind in shut)
            remedy = f"let {words} port {seen.port} in: " + "; ".join(_allow(tool, kind, seen.port) for kind in shut)
            text = f"{tool}: what comes in is dropped unless a rule lets it in, and none names {words} {seen.port}"
            return warn("firewall_closed", text, remedy)
    if seen.unreadable and not seen.rules:
        look = "nft list ruleset" if "nft" in seen.unreadable else "iptables-save"
        hint = f"if others cannot reach this peer, look at `sudo {look}`: TCP and UDP {seen.port} must be let in"
        return ok("firewall_unknown", f"the rules of {', '.join(seen.unreadable)} are only root's to read", hint)
    if seen.rules:
        return ok("firewall", f"{', '.join(seen.rules)}: nothing that keeps port {seen.port} shut")
    return ok("firewall", "no nft or iptables on this machine")


def _is_closed(rules: str) -> bool:
    """Whether a chain of what comes in drops what no rule names."""
    has_policy = re.search(r"hook input\b[^;]*;\s*policy (drop|reject)|^:INPUT (DROP|REJECT)\b", rules, re.MULTILINE)
    last = re.search(r"^-A INPUT -j (DROP|REJECT)", rules, re.MULTILINE)
    return has_policy is not None or last is not None


def _is_let_in(rules: str, kind: str, port: int) -> bool:
    """Whether a line that accepts names the port, or a range or set with it."""
    for line in rules.splitlines():
        if "accept" not in line.lower() or kind not in line.lower() or "dport" not in line:
            continue
        named = line.partition("dport")[2]
        for low, high in re.findall(r"\b(\d{1,5})(?:[-:](\d{1,5}))?\b", named):
            if int(low) <= port <= int(high or low):
                return True
    return False


def _allow(tool: str, kind: str, port: int) -> str:
    if tool == "nft":
        return f"`sudo nft insert rule inet filter input {kind} dport {port} accept`"
    return f"`sudo iptables -I INPUT -p {kind} --dport {port} -j ACCEPT`"
