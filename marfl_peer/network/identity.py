"""Who a peer is: its Ed25519 key pair, its peer id and its incarnation, kept in the state directory.

The incarnation grows at every start and is on disk before it is used, so nothing that was signed in an
earlier life can pass for this one. A lock keeps two processes from being the same peer. No network here.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marfl_peer import disk
from marfl_peer.errors import ConfigError
from marfl_peer.ids import DhtKey, PeerId, peer_id_of
from marfl_peer.protocol import records, signatures
from marfl_peer.protocol.records import MAX_COUNTER, Record

KEY_FILE = "identity.pem"
INCARNATION_FILE = "incarnation"
LOCK_FILE = "lock"


class Identity:
    """Made by `load_or_create` or `ephemeral`; `close()` it, or use it in a `with`, to give up the lock."""

    def __init__(
        self, private: Ed25519PrivateKey, *, state_dir: Path | None, incarnation: int, lock: int | None
    ) -> None:
        self.private = private
        self.public_key: bytes = private.public_key().public_bytes_raw()
        self.peer_id: PeerId = peer_id_of(self.public_key)
        self.incarnation = incarnation
        self._sequence = 0
        self._state_dir = state_dir
        self._lock = lock

    @classmethod
    def load_or_create(cls, state_dir: Path) -> Identity:
        """The identity that lives in this directory, made at the first time; it holds the directory's lock.

        Raises: ConfigError if the directory cannot be written, is in use, or holds a damaged file.
        """
        lock = _take_lock(state_dir)
        try:
            return cls(_load_key(state_dir), state_dir=state_dir, incarnation=_load_incarnation(state_dir), lock=lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def ephemeral(cls) -> Identity:
        """An identity for this process alone: for those who only look."""
        return cls(Ed25519PrivateKey.generate(), state_dir=None, incarnation=0, lock=None)

    def raise_incarnation(self) -> int:
        """Starts a new life: the next incarnation, already on disk when this returns. Raises: ConfigError."""
        if self._state_dir is not None:
            _write_durably(self._state_dir / INCARNATION_FILE, f"{self.incarnation + 1}\n".encode())
        self.incarnation += 1
        self._sequence = 0
        return self.incarnation

    def sign(self, context: bytes, message: bytes) -> bytes:
        return signatures.sign(self.private, context, message)

    def sign_record(self, *, key: DhtKey, body: bytes, expires_at: int, view_digest: bytes = b"") -> Record:
        """A record that outranks all that this identity signed before; an empty body withdraws."""
        self._sequence += 1
        return records.sign_record(
            self.private,
            key=key,
            incarnation=self.incarnation,
            sequence=self._sequence,
            body=body,
            expires_at=expires_at,
            view_digest=view_digest,
        )

    def renew_record(self, record: Record, expires_at: int) -> Record:
        """The same statement once more, valid until `expires_at` (Unix seconds)."""
        return self.sign_record(
            key=DhtKey(record.key), body=record.body, expires_at=expires_at, view_digest=record.view_digest
        )

    def close(self) -> None:
        """Gives up the lock. May be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take_lock(state_dir: Path) -> int:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(state_dir, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigError(
            "state-dir",
            str(state_dir),
            "another peer is using it: stop that peer or choose another directory",
        ) from error
    except OSError as error:
        os.close(lock)
        raise ConfigError(
            "state-dir", str(state_dir), f"cannot be locked ({error.strerror}): use a local disk"
        ) from error
    return lock


def _load_key(state_dir: Path) -> Ed25519PrivateKey:
    path = state_dir / KEY_FILE
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return _create_key(path)
    except OSError as error:
        raise ConfigError(KEY_FILE, str(path), f"cannot be read ({error.strerror}): fix its permissions") from error
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:  # TypeError: the key is encrypted
        raise _damaged(path) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _damaged(path)
    return private


def check_identity(state_dir: Path) -> None:
    """Reads what is there of an identity, and creates nothing. Raises: ConfigError for what is damaged."""
    if (state_dir / KEY_FILE).exists():
        _load_key(state_dir)
    _load_incarnation(state_dir)


def _create_key(path: Path) -> Ed25519PrivateKey:
    private = Ed25519PrivateKey.generate()
    _write_durably(path, pem_of(private))
    return private


def pem_of(private: Ed25519PrivateKey) -> bytes:
    """What the key's file holds."""
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_incarnation(state_dir: Path) -> int:
    path = state_dir / INCARNATION_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ConfigError(path.name, str(path), f"cannot be read ({error.strerror}): fix its permissions") from error
    # bytes.isdigit knows ASCII only; an empty file, as a full disk may leave it, is no number either
    if not text.strip().isdigit() or int(text) >= MAX_COUNTER:
        raise _damaged(path)
    return int(text)


def _write_durably(path: Path, data: bytes) -> None:
    """The file holds all of `data`, or what it held before, whenever the power goes; mode 0600."""
    try:
        disk.write_whole(path, data, mode=0o600)
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _unwritable(state_dir: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "state-dir",
        str(state_dir),
        f"cannot be written ({error.strerror}): fix it or choose another directory",
    )


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        path.name,
        str(path),
        f"is damaged: restore it, or delete {KEY_FILE} and {INCARNATION_FILE} to start as a new peer",
    )
