"""Files that are there whole or not at all, and folders that one process writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fltac.errors import InputError, Problem, StoppedError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of a file system that knows no locks
LOCK = ".lock"
SIDE_BY_SIDE = 16  # files


def as_json(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """As a line, or with an indent as a file for people."""
    return (json.dumps(value, indent=indent) + "\n").encode()


def write(file: Path, content: bytes) -> None:
    """To a temporary name, synced, renamed, its folder synced. Raises StoppedError where the disk is full."""
    write_all({file: content})


def write_all(files: Mapping[Path, bytes]) -> None:
    """As `write`, each file; none of them is renamed before all are synced. Raises as `write`."""
    temporaries = {file: file.with_name(f".{file.name}.tmp") for file in files}

    def put(file: Path) -> None:
        with _room_for(file), temporaries[file].open("wb") as out:
            out.write(files[file])
            out.flush()
            os.fsync(out.fileno())

    try:
        for folder in {file.parent for file in files}:
            make(folder)
        _side_by_side(put, files)
        for file, temporary in temporaries.items():
            with _room_for(file):
                temporary.replace(file)
        _side_by_side(_sync, {file.parent for file in files})
    except (OSError, StoppedError):
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise


def append(file: Path, content: bytes) -> None:
    """At the end, synced; a crash may leave a part of it. Raises as `write`."""
    with _room_for(file), file.open("ab") as appended:
        appended.write(content)
        appended.flush()
        os.fsync(appended.fileno())


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """A folder of files, in place of the one that may be there. Raises as `write`."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    with _room_for(folder, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        make(folder.parent)
        temporary.mkdir()
        write_all({temporary / name: content for name, content in files.items()})
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        _sync(folder.parent)


def make(folder: Path) -> None:
    """A folder and those above it that are missing, each synced into the one above it. Raises as `write`."""
    if not folder.is_dir():
        make(folder.parent)
        with _room_for(folder):
            folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # what may be written need not be readable
            _sync(folder.parent)


class Lock:
    """Of a folder, held until `release` or the end of the process, however it ends."""

    _file = -1

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        """Raises InputError where another process holds it, after so many seconds, or nobody may write there."""
        try:
            self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            what = f"cannot be written: {error.strerror}; see to its rights and to room, or name another folder"
            raise InputError(Problem("", what), str(folder)) from None
        end = time.monotonic() + patience
        try:
            while True:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(0.2)
        except BlockingIOError:
            holder = os.read(self._file, 200).decode(errors="replace") or "another process"
            self.release()
            what = f"is being written by {holder}; wait until it ends, or end it"
            raise InputError(Problem("", what), str(folder)) from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                raise
        with contextlib.suppress(OSError):  # who it is says itself; on a full disk what is written next tells
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"process {os.getpid()} on {platform.node()}".encode(), 0)

    def release(self) -> None:
        if self._file >= 0:
            self._close(self._file)
            self._file = -1

    _close = staticmethod(os.close)  # at the end of an interpreter `os` is gone before the last lock
    __del__ = release


def abandoned(folder: Path) -> bool:
    """Whether the process that wrote the folder last is surely gone: it was one of this machine's, and is no more.

    Looks at what the lock says and does not take it: a reader is never in a writer's way.
    """
    try:
        match (folder / LOCK).read_text().split():
            case ["process", number, "on", machine] if machine == platform.node():
                os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def require_new(path: Path, option: str, remedy: str) -> None:
    """Raises InputError where the folder that an option names is a file, holds something, or cannot be looked at."""
    try:
        used = path.is_file() or (path.is_dir() and any(item.name != LOCK for item in path.iterdir()))
    except OSError as error:
        what = f"cannot be looked at: {error.strerror}; name another folder"
        raise InputError(Problem(option, what, str(path)), "command line") from None
    if used:
        raise InputError(Problem(option, f"is there already; {remedy}", str(path)), "command line")


@contextlib.contextmanager
def _room_for(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Says it in one line where the disk is full, and leaves no half of a file on it."""
    try:
        yield
    except (OSError, StoppedError) as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno not in FULL:
            raise
        go_on = "fltac resume (finished rounds are whole), or fltac run where it had not begun"
        raise StoppedError(f"{path}: cannot be written: {error.strerror}; make room, then {go_on}") from None


def _side_by_side(do: Callable[[Path], None], paths: Collection[Path]) -> None:
    """A disk syncs several files in little more than the time of one."""
    with ThreadPoolExecutor(min(SIDE_BY_SIDE, max(1, len(paths)))) as pool:
        for _ in pool.map(do, paths):
            pass


def _sync(folder: Path) -> None:
    with _room_for(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
