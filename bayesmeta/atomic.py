"""Files and folders that are written whole or not at all: everything the package writes goes through here.

What is new is written beside its target under a name of its own, flushed to the disk and renamed, so that whoever is
killed, or runs out of space, leaves the old file as it was. A link stays a link, and its target is replaced; devices
and pipes are written to. A file keeps its permissions.
"""

import ctypes
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from bayesmeta.errors import DataError

PART = ".part"  # the end of the name of what is not finished
_NUMBER = count()
_HOST = socket.gethostname()[:40] or "host"
_STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")  # where a plain file is one that a shell has opened for this process
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


def is_stream(path: Path) -> bool:
    """Whether a path is that of a device or a pipe, which are written to and never replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # such as a NUL in the name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or str(path.absolute().parent) in _STREAMS


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept = "; what was there is as it was" if path.exists() and not is_stream(path) else ""
        raise DataError(f"{path} cannot be written: {error.strerror or error}{kept}") from None


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
