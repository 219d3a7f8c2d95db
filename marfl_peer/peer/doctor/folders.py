"""The state folder, the disk under it and the data: whether a peer can write, is alone there, and finds what it needs.

Looks and leaves nothing behind: the one file that it writes to see whether it may is gone at once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from marfl_peer.config import Settings
from marfl_peer.errors import ConfigError
from marfl_peer.learning.tasks.registry import load_task
from marfl_peer.network.identity import KEY_FILE, LOCK_FILE, check_identity
from marfl_peer.peer.doctor.findings import Finding, fail, ok, warn
from marfl_peer.peer.store import Manifest, load_manifest, load_tensors

MIB = 1 << 20
JOURNAL_MIB = 128
"""The journal takes that much at most."""
SCARCE_MIB = 64
OTHERS_MAY_READ = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """`unwritable`: why nothing can be written, '' where it can. `damage`: what of the saved state or identity is not
    whole, in the words of an error. `key_mode`: permissions of the key, None without one."""

    folder: str
    peers: int
    unwritable: str = ""
    is_locked: bool = False
    damage: str = ""
    identity_damage: str = ""
    key_mode: int | None = None
    saved: Manifest | None = None
    run_id: str = ""
    free_bytes: int = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSeen:
    """`problem`: why the task or its data cannot be loaded, '' where they can."""

    task: str
    problem: str = ""
    samples: int = 0


def look_at_state(settings: Settings, *, peers: int) -> StateSeen:
    folder = settings.state_dir
    saved, damage = _saved(folder)
    key = folder / KEY_FILE
    return StateSeen(
        folder=str(folder),
        peers=peers,
        unwritable=_why_unwritable(folder),
        is_locked=_is_locked(folder / LOCK_FILE),
        damage=damage,
        identity_damage=_identity_damage(folder),
        key_mode=key.stat().st_mode & 0o777 if key.is_file() else None,
        saved=saved,
        run_id=settings.run_id,
        free_bytes=_free(folder),
    )


def judge_state(seen: StateSeen) -> list[Finding]:
    if seen.unwritable:
        remedy = "give --state-dir a folder that this user may write, or change its owner (`chown`)"
        return [fail("state_unwritable", f"{seen.folder} cannot be written: {seen.unwritable}", remedy)]
    findings = []
    if seen.is_locked:
        remedy = "stop the peer that runs there, or give this one a --state-dir of its own"
        findings.append(fail("state_locked", f"{seen.folder} is in use by a running peer", remedy))
    if seen.identity_damage:
        remedy = "restore the file, or delete identity.pem and incarnation to start as a new peer"
        findings.append(fail("identity_damaged", seen.identity_damage, remedy))
    if seen.key_mode is not None and seen.key_mode & OTHERS_MAY_READ:
        text = f"{seen.folder}/{KEY_FILE} has mode {seen.key_mode:04o}: others on this machine can read the key"
        findings.append(warn("identity_open", text, f"`chmod 600 {seen.folder}/{KEY_FILE}`"))
    if seen.damage:
        remedy = f"delete {seen.folder}/state.json: the peer takes the state of the others"
        findings.append(warn("state_damaged", seen.damage, remedy))
    if seen.saved is not None and seen.saved.run_id != seen.run_id:
        text = f"{seen.folder} holds the state of run {seen.saved.run_id}, not of {seen.run_id}"
        remedy = f"give another --state-dir, or --run-id {seen.saved.run_id}: the saved state would be replaced"
        findings.append(warn("state_foreign", text, remedy))
    if not findings:
        text = f"{seen.folder} can be written"
        if seen.saved is not None:
            text += f" and has the state after iteration {seen.saved.iteration}"
        findings.append(ok("state", text))
    return [*findings, _judge_space(seen)]


def look_at_data(settings: Settings) -> DataSeen:
    """Loads the task's data as a peer would."""
    try:
        task = load_task(settings.task, encoder=settings.encoder, data_dir=settings.data_dir, folder=settings.task_dir)
        loaded = task.load(settings.data_dir)
    except ConfigError as error:
        return DataSeen(task=settings.task, problem=str(error))
    return DataSeen(task=settings.task, samples=len(loaded.train_inputs))


def judge_data(seen: DataSeen) -> Finding:
    if not seen.problem:
        return ok("data", f"task {seen.task}: {seen.samples:,} training samples")
    fetch = f"`marfl-peer data fetch {seen.task}`, or " if seen.task in ("mnist", "20news") else ""
    remedy = f"{fetch}give --data-dir and --task as `marfl-peer data check` accepts them"
    return fail("data_unusable", seen.problem, remedy)


def _judge_space(seen: StateSeen) -> Finding:
    free = seen.free_bytes // MIB
    wanted = seen.peers * (JOURNAL_MIB + (3 * seen.saved.bytes // MIB if seen.saved is not None else SCARCE_MIB))
    text = f"{free} MiB are free on the disk of {seen.folder}"
    remedy = f"make room, or give a --state-dir on another disk: up to {wanted} MiB are used by {seen.peers} peer(s)"
    if free < SCARCE_MIB:
        return fail("disk_full", text, remedy)
    return warn("disk_scarce", text, remedy) if free < wanted else ok("disk", text)


def _standing(folder: Path) -> Path:
    """The folder, or what is there of the way to it."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _why_unwritable(folder: Path) -> str:
    place = _standing(folder)
    if not place.is_dir():
        return f"{place} is not a folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _saved(folder: Path) -> tuple[Manifest | None, str]:
    try:
        manifest = load_manifest(folder)
        if manifest is not None:
            load_tensors(folder, manifest)
        return manifest, ""
    except ConfigError as error:
        return None, str(error)


def _identity_damage(folder: Path) -> str:
    try:
        check_identity(folder)
    except ConfigError as error:
        return str(error)
    return ""


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(_standing(folder)).free
    except OSError:
        return 1 << 62
