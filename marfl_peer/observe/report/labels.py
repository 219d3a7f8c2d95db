"""Short names for runs that stand side by side: made of what differs between them, and unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from marfl_peer.observe.report.runs import Run

UNSAID = ("run_id", "shards", "buckets", "hashed_rounds", "group_size", "task", "exchange", "codec")
"""Settings that follow from others, or are said before the others."""
SAID_FIRST = ("aggregation", "placement", "partition")
MAX_LENGTH = 60
CALM = "no churn"
"""Said only where there is nothing else to say."""


def labels_of(runs: Sequence[Run]) -> list[str]:
    """One label a run, in their order: such as "16 peers, int8". One run alone is called by its run id."""
    parts = [_differing(run, runs) for run in runs]
    told = [", ".join(part for part in found if part) for found in parts]
    told = _told_apart(told, [run.run_id for run in runs])
    told = _told_apart(told, [run.name for run in runs])
    return _numbered([_cut(label) for label in told])


def _differing(run: Run, runs: Sequence[Run]) -> list[str]:
    keys = [key for key in _keys(runs) if len({_value(other, key) for other in runs} - {""}) > 1]
    values = [_value(run, key) for key in keys]
    return values if len(values) == 1 else [value for value in values if value != CALM]


def _keys(runs: Sequence[Run]) -> list[str]:
    settings = list(dict.fromkeys(key for run in runs for key in run.settings if key not in UNSAID))
    first = [key for key in SAID_FIRST if key in settings]
    last = [key for key in settings if key not in SAID_FIRST and key != "seed"]
    return [*_WORDS, *first, "churn", *last, "seed"]


_WORDS: Mapping[str, Callable[[Run], str]] = {
    "peers": lambda run: f"{run.peers} peers" if run.peers != 1 else "1 peer",
    "group_size": lambda run: f"M = {run.group_size}" if run.group_size else "",
    "task": lambda run: run.task,
    "exchange": lambda run: run.exchange,
    "codec": lambda run: run.codec,
}


def _value(run: Run, key: str) -> str:
    """How a run's value is said; empty where it is not known."""
    if key in _WORDS:
        return _WORDS[key](run)
    if key == "churn" and run.settings:
        return f"churn {run.churn_plan}" if run.churn_plan else CALM
    if key not in run.settings:
        return ""
    return setting_text(key, run.settings[key])


def setting_text(key: str, value: object) -> str:
    """A setting in words: "lr 0.02", "no overlap"; of texts the value alone."""
    words = key.replace("_", " ")
    match value:
        case bool():
            return words if value else f"no {words}"
        case None:
            return f"no {words}"
        case float():
            return f"{words} {value:g}"
        case str() if key in SAID_FIRST:
            return value
    return f"{words} {value}"


def _told_apart(labels: list[str], by: list[str]) -> list[str]:
    """Labels that are not unique, or empty, get what else their runs are known by."""
    counts = Counter(labels)
    return [
        ", ".join(part for part in (label, other) if part) if counts[label] > 1 or not label else label
        for label, other in zip(labels, by, strict=True)
    ]


def _numbered(labels: list[str]) -> list[str]:
    """The second of two equal ones is "label (2)", and so on."""
    seen: Counter[str] = Counter()
    told = []
    for label in labels:
        seen[label] += 1
        told.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return told


def _cut(label: str) -> str:
    return label if len(label) <= MAX_LENGTH else label[: MAX_LENGTH - 1] + "…"
