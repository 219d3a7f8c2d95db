"""Facts as log lines for people: one an iteration, a warning for what another peer did wrong.

Knows facts and a logger. What other peers say is quoted and cut: it must neither forge lines nor fill a disk.
"""

from __future__ import annotations

import logging
from collections import Counter

from marfl_peer.facts import (
    CellTakenOver,
    ConnectionRefused,
    DatagramRejected,
    Fact,
    IterationFinished,
    IterationSkipped,
    MergeAgreed,
    PeerSeen,
    PeerStarted,
    PeerStopped,
    PrivacySpent,
    RemoteFault,
    ResultSuperseded,
    ShardClaimed,
    StateFetched,
    StateNotSaved,
    StateRejected,
    StateResumed,
    TargetReached,
    VectorSketched,
    ViewChanged,
)
from marfl_peer.ids import short

MAX_WARNINGS_A_KIND = 3
"""Of one kind, from one iteration's end to the next; the others are counted."""

MAX_DETAIL = 200


class FactLog:
    """A sink that logs to `logger`, each record with its `fact`. `iterations` is the length of the run, for "iteration
    3/30"."""

    def __init__(self, logger: logging.Logger, *, iterations: int) -> None:
        self._logger = logger
        self._iterations = iterations
        self._warnings: Counter[str] = Counter()

    def __call__(self, fact: Fact) -> None:
        match fact:
            case IterationFinished():
                self._report_suppressed()
                self._about(fact).info("%s", self._iteration_line(fact))
            case RemoteFault():
                self._warn(fact, "remote fault", "%s: dropped for %s: %s", fact.remote, fact.code, fact.detail)
            case ConnectionRefused():
                who = "refused" if fact.by_us else "was refused by"
                self._warn(fact, "refusal", "%s %s: %s: %s", who, fact.remote, fact.code, fact.detail)
            case DatagramRejected():
                self._warn(fact, "datagram", "rejected %s datagram(s): %s", fact.count, fact.code)
            case PeerSeen(event="lost"):
                self._warn(fact, "lost peer", "peer %s is lost: %s", short(fact.peer_id), fact.reason)
            case StateRejected():
                self._warn(fact, "state", "state on disk not used (%s): %s", fact.reason, fact.detail)
            case StateNotSaved():
                self._warn(fact, "saving", "state of iteration %s not saved: %s", fact.iteration, fact.detail)
            case IterationSkipped():
                self._warn(fact, "skip", "iteration %s skipped: %s", fact.iteration, fact.reason)
            case PeerStopped(reason="error"):
                self._about(fact).error("stopped in iteration %s: %s", fact.iteration, fact.detail)
            case _:
                self._inform(fact)

    def _inform(self, fact: Fact) -> None:
        logger = self._about(fact)
        match fact:
            case PeerStarted():
                logger.info(
                    "peer %s of run %s (task %s) at %s:%s",
                    *(short(fact.peer_id), fact.run_id, fact.task, fact.host, fact.port),
                )
            case ShardClaimed():
                logger.info("shard %s/%s: %s samples", fact.shard, fact.shards, fact.samples)
            case ViewChanged():
                grid = "x".join(map(str, fact.grid)) or "none"
                logger.info(
                    "from iteration %s on %s peers, grid %s, own cell %s",
                    *(fact.iteration, fact.peers, grid, fact.cell),
                )
            case PeerSeen():
                logger.info("peer %s %s", short(fact.peer_id), fact.event)
            case MergeAgreed():
                logger.info(
                    "merges with another part of the swarm in iteration %s: this part is in %s, the other in %s",
                    *(fact.iteration, fact.own_iteration, fact.other_iteration),
                )
            case CellTakenOver(instead_of=gone):
                logger.info(
                    "iteration %s, round %s: plays cell %s of %s",
                    *(fact.iteration, fact.round, fact.cell, short(gone) if gone else "nobody"),
                )
            case ResultSuperseded():
                logger.info("iteration %s, round %s: result superseded", fact.iteration, fact.round)
            case StateFetched():
                logger.info(
                    "state of iteration %s fetched from %s peer(s), most from %s: %s in %.2f s",
                    *(fact.iteration, fact.sources, short(fact.source)),
                    *(readable_bytes(fact.bytes_received), fact.seconds),
                )
            case StateResumed():
                logger.info(
                    "resumed after iteration %s from disk: %s, sample %s of epoch %s",
                    *(fact.iteration, readable_bytes(fact.bytes_read), fact.offset, fact.epoch),
                )
            case PrivacySpent():
                logger.info(
                    "privacy after %s releases: epsilon %.4g against a group-mate, %.4g against an outsider (delta %g)",
                    *(fact.releases, fact.epsilon_mate, fact.epsilon_outsider, fact.delta),
                )
            case TargetReached():
                logger.info("target reached in iteration %s: %.2f%%", fact.iteration, 100 * fact.test_accuracy)
            case VectorSketched():
                logger.debug("iteration %s: sketched after round %s", fact.iteration, fact.round)
            case PeerStopped():
                logger.info("stopped after iteration %s: %s", fact.iteration, fact.reason)
            case _:
                logger.debug("%r", fact)

    def _iteration_line(self, fact: IterationFinished) -> str:
        parts = [f"iteration {fact.iteration}/{self._iterations}"]
        if fact.train_loss is not None:
            parts.append(f"train loss {fact.train_loss:.4f}")
        if fact.test_accuracy is not None:
            parts.append(f"accuracy {100 * fact.test_accuracy:.2f}% (after {fact.evaluated_iteration})")
        groups = fact.groups_complete + fact.groups_partial
        parts.append(f"groups {fact.groups_complete}/{groups} complete")
        parts.append(f"{fact.peers} peers")
        parts.append(f"sent {readable_bytes(sum(fact.bytes_sent.values()))}")
        parts.append(f"{fact.seconds:.2f} s")
        return ", ".join(parts)

    def _about(self, fact: Fact) -> logging.LoggerAdapter[logging.Logger]:
        return logging.LoggerAdapter(self._logger, {"fact": fact})

    def _warn(self, fact: Fact, kind: str, template: str, *values: object) -> None:
        self._warnings[kind] += 1
        if self._warnings[kind] <= MAX_WARNINGS_A_KIND:
            self._about(fact).warning(template, *(_quoted(value) for value in values))

    def _report_suppressed(self) -> None:
        for kind, count in sorted(self._warnings.items()):
            if count > MAX_WARNINGS_A_KIND:
                extra = {"code": "suppressed"}
                self._logger.warning("and %s more: %s", count - MAX_WARNINGS_A_KIND, kind, extra=extra)
        self._warnings.clear()


def readable_bytes(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def _quoted(value: object) -> str:
    text = str(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "..."
