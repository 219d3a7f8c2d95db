"""Makes runs, one after the other, and keeps what comes out of each as a file. What is there already is not made again:
an interrupted reproduction goes on where it stopped.

Says what happens to a `Progress`; draws nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from safetensors.numpy import load_file

import marfl_peer
from reproduction import results
from reproduction.process import Ended, run_process
from reproduction.results import Result, Versions
from reproduction.runs import Kind, Run

ROOT = Path(__file__).resolve().parents[2]
MAX_FAILURE = 300
"""Characters that are kept of what a failed run said."""


class Progress(Protocol):
    """Who is told."""

    def begins(self, run: Run, number: int, total: int) -> None: ...
    def heard(self, line: str) -> None: ...
    def ended(self, result: Result) -> None: ...
    def kept(self, run: Run) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """`program` is what `marfl-peer` stands for; `environment` without the settings of the one who calls."""

    program: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    data_dir: Path | None
    limit_s: float
    versions: Versions

    def make_all(self, runs: Sequence[Run], progress: Progress, *, again: bool) -> list[Result]:
        """Those that failed. What is there is made anew only with `again`, and stays where that fails.

        Raises: KeyboardInterrupt; what was made until then is kept.
        """
        failed = []
        for number, run in enumerate(runs, 1):
            before = results.read(run, self.folder)
            is_there = before is not None and not before.failure
            if is_there and not again:
                progress.kept(run)
                continue
            progress.begins(run, number, len(runs))
            result = self._make(run, progress)
            if result.failure:
                failed.append(result)
            if not (result.failure and is_there):
                results.write(result, self.folder)
            progress.ended(result)
        return failed

    def _make(self, run: Run, progress: Progress) -> Result:
        began, start, cpu_before = datetime.now(UTC), time.monotonic(), _cpu_of_children()
        result = Result(
            name=run.name,
            command=run.command,
            seed=run.seed,
            began=began.strftime("%Y-%m-%d %H:%M"),
            wall_seconds=0.0,
            versions=self.versions,
        )
        with tempfile.TemporaryDirectory(prefix="reproduce-") as name:
            folder = Path(name)
            ended = self._run(run, folder, progress)
            result = msgspec.structs.replace(
                result,
                exit_code=ended.code,
                wall_seconds=time.monotonic() - start,
                cpu_seconds=_cpu_of_children() - cpu_before,
            )
            failure = _failure(ended, self.limit_s)
            if not failure:
                try:
                    return self._with_figures(result, run, folder)
                except (OSError, ValueError) as error:
                    failure = f"it left no figures: {error}"
            return msgspec.structs.replace(result, failure=failure)

    def _run(self, run: Run, folder: Path, progress: Progress) -> Ended:
        data_dir = "" if self.data_dir is None else str(self.data_dir)
        command, output = [*self.program, *run.arguments(data_dir)], None
        if run.kind is Kind.SWARM:
            command += ["--plain", "--state-dir", str(folder / "state"), "--summary", str(folder / "figures.json")]
        else:
            command += ["--json"]
            output = folder / "figures.json"
        # Elsewhere than here: a marfl.toml of the one who calls has no part in it.
        return run_process(
            command,
            folder=folder,
            environment=self.environment,
            limit_s=self.limit_s,
            heard=progress.heard,
            output=output,
        )

    def _with_figures(self, result: Result, run: Run, folder: Path) -> Result:
        """Raises: OSError, ValueError where there are none."""
        figures = (folder / "figures.json").read_bytes()
        if run.kind is Kind.SCALING:
            return msgspec.structs.replace(result, scaling=msgspec.json.decode(figures, type=results.Scaling))
        result = msgspec.structs.replace(result, summary=msgspec.json.decode(figures, type=results.Summary))
        if run.counts_parameters or run.keeps_model:
            model = self._model(folder)
            result = msgspec.structs.replace(result, parameters=len(model) // 4)
            if run.keeps_model:
                result = msgspec.structs.replace(result, model=base64.b64encode(model).decode())
        return result

    def _model(self, folder: Path) -> bytes:
        """The float32 values of the model that the first peer has at the end."""
        peers = sorted((folder / "state").glob("*/peer-*"))
        if not peers:
            raise ValueError("no peer kept its state")
        path = folder / "model.safetensors"
        command = [*self.program, "export", "--state-dir", str(peers[0]), str(path)]
        ended = run_process(
            command, folder=folder, environment=self.environment, limit_s=self.limit_s, heard=lambda _: None
        )
        if ended.code:
            raise ValueError(f"its model cannot be had: {_said(ended)}")
        tensors = load_file(path)
        return np.concatenate([tensors[name].astype("<f4").ravel() for name in sorted(tensors)]).tobytes()


def versions() -> Versions:
    """Of what runs here."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "marfl_peer").rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return Versions(
        marfl_peer=marfl_peer.__version__,
        source=digest.hexdigest()[:12],
        torch=metadata.version("torch"),
        python=platform.python_version(),
        cpus=os.cpu_count() or 1,
    )


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without settings, with one thread a process and with this package in Python's search path."""
    kept = {name: value for name, value in environment.items() if not name.startswith("MARFL_")}
    path = os.pathsep.join(part for part in (str(ROOT), kept.get("PYTHONPATH", "")) if part)
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "COLUMNS": "200"}


def _cpu_of_children() -> float:
    """Seconds, of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _failure(ended: Ended, limit_s: float) -> str:
    """Empty where it came to a good end."""
    if ended.timed_out:
        return f"took longer than {limit_s:.0f} s and was stopped"
    return f"exit code {ended.code}: {_said(ended)}" if ended.code else ""


def _said(ended: Ended) -> str:
    return ended.last_lines[-1][:MAX_FAILURE] if ended.last_lines else "without a word"
