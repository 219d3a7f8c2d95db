"""What a daemon does with bytes that nobody should send, and what a user is told who asks for what cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import (
    AnyFact,
    ConnectionRefused,
    DatagramRejected,
    IterationFinished,
    PeerStopped,
)
from marfl_peer.lab.ports import free_ports
from marfl_peer.network.connection import Connection
from marfl_peer.network.handshake import Doorman, Inbox, Introduction, Refused
from marfl_peer.network.identity import Identity
from marfl_peer.network.traffic import Traffic
from marfl_peer.protocol.frames import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, frame_head
from marfl_peer.protocol.messages import PROTOCOL_VERSION, Hello, StatusRequest, encode

LOOPBACK = "127.0.0.1"
RUN = "bad-input"
SEED = 20

HELLO = Hello(
    version=PROTOCOL_VERSION,
    role="peer",
    run_id=RUN,
    public_key=b"k" * 32,
    incarnation=1,
    nonce=b"n" * 16,
    settings_digest="",
    schema_digest="",
    host=LOOPBACK,
    port=1,
)
TCP_BYTES = {
    "nothing": b"",
    "random": random.Random(SEED).randbytes(20_000),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "header too long": b"\x93\xcd" + (MAX_HEADER_BYTES + 1).to_bytes(2, "big") + b"x" * 1000,
    "payload too long": frame_head(encode(HELLO))[:-4] + (MAX_PAYLOAD_BYTES + 1).to_bytes(4, "big") + b"x" * 1000,
    "no message": frame_head(b"\xc1" * 100),
    "deep header": frame_head(b"\x91" * 20_000),
    "cut hello": frame_head(encode(HELLO))[:-9],
    "cut payload": frame_head(encode(HELLO), 1000) + b"x" * 500,
    "question first": frame_head(encode(StatusRequest())),
    "other version": frame_head(encode(msgspec.structs.replace(HELLO, version=PROTOCOL_VERSION + 1))),
    "proof of nothing": frame_head(encode(HELLO)) + frame_head(encode(HELLO)),
}
REFUSED_AT_LEAST = {"bad_frame", "oversized_frame", "bad_message", "early_message", "other_version"}


def knock(port: int, data: bytes) -> None:
    """Connects, sends, and goes: at once, or when the daemon hangs up."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as door, contextlib.suppress(OSError):
        door.sendall(data)
        door.shutdown(socket.SHUT_WR)
        while door.recv(65536):
            pass


def spray(port: int) -> int:
    """Sends garbage to the UDP port; returns how many datagrams. All fit into a socket's memory: who is busy while they
    come has not lost most of them."""
    rng = random.Random(SEED)
    datagrams = [rng.randbytes(rng.choice((0, 1, 5, 20, 21, 22, 60, 500, 2000, 4000))) for _ in range(60)]
    datagrams[30] = rng.randbytes(40_000)
    datagrams += [rng.choice((b"\x00", b"\x01")) + rng.randbytes(20) + b"\xc1" * 50 for _ in range(20)]
    datagrams += [b"\x00" + rng.randbytes(20) + b"\x93\xa4ping" + b"\x90" * size for size in range(20)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, (LOOPBACK, port))
    return len(datagrams)


def refusal_at(port: int, introduction: Introduction) -> str:
    """The reason why the daemon turns away a peer that introduces itself so."""

    async def introduce() -> str:
        loop = asyncio.get_running_loop()
        connection = Connection(
            traffic=Traffic(),
            on_frame=lambda *_: None,
            place=lambda _, __, length: memoryview(bytearray(length)),
            on_closed=lambda *_: None,
        )
        inbox = Inbox(connection)
        await loop.create_connection(lambda: connection, LOOPBACK, port)
        doorman = Doorman(Identity.ephemeral(), introduction)
        try:
            await doorman.greet(
                connection, inbox, dialled=True, nonce=os.urandom(16), patience=asyncio.timeout_at(loop.time() + 30)
            )
        except Refused as refused:
            return refused.code
        except RemoteProtocolError as error:
            # This side noticed the same; what the daemon says of it is on the way.
            return error.code
        finally:
            connection.close()
        return "let in"

    return asyncio.run(introduce())


def test_daemon_outlives_every_kind_of_garbage_and_counts_it(
    start: Callable, run: Callable, facts_of: Callable[[Path], list[AnyFact]], tmp_path: Path
) -> None:
    port, metrics_port = free_ports(2, host=LOOPBACK, rng=random.Random())
    daemon = start(
        *("join", "--run-id", RUN, "--host", LOOPBACK, "--port", str(port), "--metrics-port", str(metrics_port)),
        *("--iterations", "100000", "--local-steps", "2000", "--state-dir", "peer"),
    )
    folder = tmp_path / "peer"

    def finished() -> int:
        return sum(isinstance(fact, IterationFinished) for fact in facts_of(folder))

    def refused() -> Counter[str]:
        facts = [fact for fact in facts_of(folder) if isinstance(fact, ConnectionRefused) and fact.by_us]
        return Counter(fact.code for fact in facts)

    def rejected() -> int:
        return sum(fact.count for fact in facts_of(folder) if isinstance(fact, DatagramRejected))

    daemon.until(lambda: finished() >= 1)
    for data in TCP_BYTES.values():
        knock(port, data)
    sent = spray(port)
    stranger = Introduction(
        role="peer", run_id="other", settings_digest="ab", schema_digest="cd", host=LOOPBACK, port=1
    )
    assert refusal_at(port, stranger) == "other_run"
    assert refusal_at(port, dataclasses.replace(stranger, run_id=RUN)) == "other_settings"
    twin = start("join", "--port", "0", "--state-dir", "peer", name="twin")
    contradicting = ("join", "--bootstrap", f"{LOOPBACK}:{port}", "--port", "0", "--state-dir")
    has = f"the run at {LOOPBACK}:{port} has "
    for refused_one, words in (
        (start(*contradicting, "x", "--run-id", "other", name="run-id"), ("run-id: ", has)),
        (start(*contradicting, "y", "--local-steps", "3", name="local-steps"), ("local-steps: ", has)),
        (twin, ("peer",)),
    ):
        assert refused_one.end() == 2
        said = refused_one.log.read_text()
        assert all(word in said for word in words)
        assert len(said.splitlines()) == 1

    # it goes on, has counted, and answers whoever asks
    before = finished()
    daemon.until(lambda: finished() > before + 1)
    daemon.until(lambda: REFUSED_AT_LEAST | {"other_run", "other_settings"} <= set(refused()))
    daemon.until(lambda: rejected() >= sent // 2)
    status = run("status", f"{LOOPBACK}:{port}", "--json")
    assert status.returncode == 0, status.stderr
    with urllib.request.urlopen(f"http://{LOOPBACK}:{metrics_port}/metrics", timeout=30) as page:
        metrics = page.read().decode()
    assert any("other_run" in line and not line.endswith(" 0.0") for line in metrics.splitlines())
    with urllib.request.urlopen(f"http://{LOOPBACK}:{metrics_port}/healthz", timeout=30) as page:
        assert page.status == 200

    daemon.process.terminate()
    assert daemon.end() == 0
    log = daemon.log.read_text()
    assert "Traceback" not in log
    assert any(isinstance(fact, PeerStopped) and fact.reason == "left" for fact in facts_of(folder))
