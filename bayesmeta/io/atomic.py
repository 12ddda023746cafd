"""Files and folders that are written whole or not at all: everything the package writes goes through here.

What is new is written beside its target under a name of its own, flushed to the disk and renamed, so that whoever is
killed, or runs out of space, leaves the old file as it was. A link stays a link, and its target is replaced; devices
and pipes are written to. A file keeps its permissions.

What takes long to make, or is made of many files, has one writer at a time: a lock beside it names the process that has
it, is removed in the end, and dies with its process.
"""

import ctypes
import errno
import json
import logging
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from bayesmeta.errors import DataError

LOGGER = logging.getLogger("bayesmeta")
PART = ".part"  # the end of the name of what is not finished
_NUMBER = count()
_HOST = socket.gethostname()[:40] or "host"
_STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")  # where a plain file is one that a shell has opened for this process
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what systems say of a lock that another process has
_BEYOND = 1 << 30  # a byte that no lock file has, since Windows lets nobody read what is locked
_LONGEST = 4096  # bytes of what says who has a lock
_PAUSE = 0.05  # seconds between two looks at a lock
_HELD: set[tuple[int, Path]] = set()  # by process, since a forked one does not inherit locks
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux


def write_file(path: Path, content: bytes | memoryview | str) -> None:
    """Put a file in place of another one, or of none; DataError where that is impossible, and the old one stays."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with _plain_errors(path):
        if is_stream(path):
            with path.open("wb") as stream:
                stream.write(data)
            return
        target = _target(path)
        part = _part_of(target)
        try:
            _write_part(part, data, target)
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _flush(target.parent)
        _remove_abandoned(target)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Put a folder in place of another one, or of none; `write` fills a new one, whose path it is called with."""
    with _plain_errors(path):
        target = _target(path)
        part = _part_of(target)
        try:
            part.mkdir()
            write(part)
            for folder, _, names in os.walk(part):
                for name in names:
                    _flush(Path(folder, name))
                _flush(Path(folder))
            if target.exists():
                shutil.copymode(target, part)
                _exchange(part, target)
            else:
                part.rename(target)
            _flush(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        _remove_abandoned(target)


@contextmanager
def by_this_process() -> Iterator[None]:
    """Inside, xarray writes by itself: a Dask client in scope would have it ask the cluster for a lock."""
    if "dask" not in sys.modules:
        yield
        return
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


def is_stream(path: Path) -> bool:
    """Whether a path is that of a device or a pipe, which are written to and never replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # such as a NUL in the name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or str(path.absolute().parent) in _STREAMS


@contextmanager
def sole_writer(target: Path, lock: Path | None = None, advice: str = "", patience: float = 0.0) -> Iterator[None]:
    """Let no other process write to a file or folder meanwhile; DataError, with its number, where one does already.

    A block within another one for the same target, in the same process, changes nothing.

    lock : the file that is locked; by default a hidden one beside the target.
    advice : what else to do than to wait. patience : seconds to wait for the other process.
    """
    if is_stream(target):
        yield
        return
    own = Path(os.path.realpath(target))
    lock = lock or own.with_name(f".{own.name[:60]}.lock")
    held = (os.getpid(), lock)
    if held in _HELD:
        yield
        return
    with _plain_errors(target):
        descriptor = _waited_for(target, lock, advice, patience)
    try:
        with _plain_errors(target):
            _sign(descriptor, target)
        _HELD.add(held)
        yield
    finally:
        _HELD.discard(held)
        if os.getpid() == held[0]:  # and not a forked process that leaves the block as well
            _release(descriptor, lock)


def _waited_for(target: Path, lock: Path, advice: str, patience: float) -> int:
    deadline = time.monotonic() + patience
    while (descriptor := _locked(lock)) is None:
        if time.monotonic() >= deadline:
            raise _busy(target, lock, advice)
        time.sleep(_PAUSE)
    return descriptor


def _release(descriptor: int, lock: Path) -> None:
    if sys.platform == "win32":  # where a file that is open cannot be removed
        os.close(descriptor)
        with suppress(OSError):
            lock.unlink()
    else:
        lock.unlink(missing_ok=True)  # before anybody else can have it
        os.close(descriptor)


def _locked(lock: Path) -> int | None:
    """An open file that is locked, as long as this process lives and has it open; None where another process has it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except FileNotFoundError:  # its owner was about to remove it
            pass
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                return None
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """OSError where another process has it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sign(descriptor: int, target: Path) -> None:
    """Write who has the lock; one that is signed was left behind by a process that did not end as it should."""
    if before := _holder(os.read(descriptor, _LONGEST)):  # not by name: a file that is closed is no longer locked
        LOGGER.warning("%s: %s was stopped while it wrote there; its lock is taken over", target, before)
    started = datetime.now().isoformat(" ", timespec="minutes")
    about = {"process": os.getpid(), "computer": socket.gethostname(), "since": started, "command": sys.argv[:6]}
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(about).encode())


def _holder(signature: bytes) -> str:
    """Which process signed a lock; empty where none did."""
    try:
        about = json.loads(signature)
        return f"process {about['process']} on {about['computer']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _busy(target: Path, lock: Path, advice: str) -> DataError:
    try:
        signature = lock.read_bytes()
    except OSError:
        signature = b""
    return DataError(
        f"{target} is being written to by {_holder(signature) or 'another process'}\n"
        f"  wait for it or stop it{advice}; the lock of a process that has crashed is free at once,\n"
        f"  but on a network drive that does not free it, remove {lock}"
    )


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept = "; what was there is as it was" if path.exists() and not is_stream(path) else ""
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}{kept}"
            "\n  check the folder, and whether you may write there"
        ) from None


def _target(path: Path) -> Path:
    """The path itself, or what the link there leads to; OSError where it may not be written."""
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError("it is write-protected")
    return target


def _prefix(target: Path) -> str:
    return f".{target.name[:60]}.{_HOST}."


def _part_of(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}{os.getpid()}.{next(_NUMBER)}{PART}")


def _write_part(part: Path, data: bytes | memoryview, target: Path) -> None:
    with part.open("xb") as file:
        if target.exists():
            shutil.copymode(target, part)
            with suppress(OSError, AttributeError):  # only root may give files away
                before = target.stat()
                os.chown(part, before.st_uid, before.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    """That what a file or folder holds is on the disk."""
    with suppress(OSError):  # not every system can open folders
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change places: at once where the system can do that, elsewhere by way of a third name."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        arguments = _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE
        if rename is not None and rename(*arguments) == 0:
            return
    aside = _part_of(old)
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _remove_abandoned(target: Path) -> None:
    """Remove what processes of this machine that are no longer there left behind beside a target."""
    prefix = _prefix(target)
    for left in target.parent.iterdir():
        number = left.name.removeprefix(prefix).split(".")[0]
        if left.name.startswith(prefix) and left.name.endswith(PART) and number.isdigit() and not is_running(number):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def is_running(number: str | int) -> bool:
    """Whether there is a process of this number on this machine."""
    if sys.platform == "win32":  # where signal 0 is no question
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
