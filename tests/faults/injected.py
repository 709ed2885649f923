"""Every system call of the store, counted, and made to fail one at a time, inside the process.

The calls are those of `os`, `fcntl`, the C library by `ctypes`, ``open`` as far as the store's
modules use them, and SQLite's statements. What SQLite itself asks of the system is left to strace
(`test_strace_faults.py`).
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import fcntl
import importlib
import os
import pkgutil
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import contentui.stores.local
from contentui.stores import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from durable import Durability

ERRNOS = ("EIO", "ENOSPC", "EMFILE", "EACCES", "EINTR", "ESTALE", "ENOMEM", "EROFS", "EDQUOT")
INTERRUPTS = ("SIGINT before", "SIGINT after")
LATE = ("EIO after",)
"""The call took effect, and its answer was lost: a network's file system."""

_CALLS = """
    open close read write pread preadv pwrite pwritev fsync fdatasync ftruncate truncate fchmod
    chmod utime stat lstat fstat mkdir rmdir unlink rename replace link listdir scandir
    copy_file_range statvfs readlink posix_fallocate sendfile access symlink remove
    getxattr setxattr removexattr posix_fadvise dup
""".split()  # noqa: SIM905
LATE_CALLS = {"link", "rename", "renameat2", "unlink", "mkdir", "rmdir"}
_SQL_ERRORS = {
    "EIO": ("SQLITE_IOERR_FSYNC", "disk I/O error"),
    "ENOSPC": ("SQLITE_FULL", "database or disk is full"),
    "EDQUOT": ("SQLITE_FULL", "database or disk is full"),
    "EMFILE": ("SQLITE_CANTOPEN", "unable to open database file"),
    "EACCES": ("SQLITE_READONLY", "attempt to write a readonly database"),
    "EROFS": ("SQLITE_READONLY_DIRECTORY", "attempt to write a readonly database"),
    "EINTR": ("SQLITE_BUSY", "database is locked"),
    "ESTALE": ("SQLITE_IOERR_READ", "disk I/O error"),
    "ENOMEM": ("SQLITE_IOERR_NOMEM", "disk I/O error"),
}

OWN_THREADS = "harness"
"""How the names of threads begin whose calls are the harness's own."""


class Place(NamedTuple):
    """One call of a run: the n-th of the operation's own thread, or of its helper thread."""

    helper: bool
    number: int


class Fault(NamedTuple):
    """``kind``: an errno's name, one of `INTERRUPTS` or `LATE`, or ``other:`` and a deed."""

    place: Place
    kind: str
    call: str = ""
    """Which call that is in a run without faults."""

    def __str__(self) -> str:
        thread = "helper thread's " if self.place.helper else ""
        return f"{self.kind} at {thread}call {self.place.number} ({self.call})"


class Injector:
    """What happens to the calls while it is `active`."""

    def __init__(
        self,
        durability: Durability,
        fault: Fault | None = None,
        other: Callable[[], None] | None = None,
    ) -> None:
        self.calls: dict[bool, list[str]] = {False: [], True: []}
        self.durability = durability
        self.fault = fault
        self.fired = ""
        """The call that failed."""
        self._other = other
        self._owner = threading.get_ident()

    def counts(self) -> bool:
        if getattr(_thread, "paused", False):
            return False
        if threading.get_ident() == self._owner:
            return True
        return not threading.current_thread().name.startswith(OWN_THREADS)

    def enter(self, call: str) -> str:
        """Count a call; the kind of fault that is to happen to it."""
        helper = threading.get_ident() != self._owner
        made = self.calls[helper]
        number = len(made)
        made.append(call)
        fault = self.fault
        if self.fired or fault is None or fault.place != (helper, number):
            return ""
        self.fired = call
        if fault.kind.startswith("other:"):
            assert self._other is not None
            with paused():
                self._other()
            return ""
        return fault.kind


_active: Injector | None = None
_thread = threading.local()
real: dict[str, Any] = {name: getattr(os, name) for name in _CALLS}
real_pipe = os.pipe


@contextlib.contextmanager
def active(injector: Injector) -> Iterator[Injector]:
    """Let ``injector`` see the calls."""
    global _active
    assert _active is None
    _active = injector
    try:
        yield injector
    finally:
        _active = None


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Let this thread's calls pass uncounted."""
    before = getattr(_thread, "paused", False)
    _thread.paused = True
    try:
        yield
    finally:
        _thread.paused = before


def _run(call: str, function: Any, args: Any, kwargs: Any, seen: Any = None) -> Any:
    injector = _active
    if injector is None or not injector.counts():
        return function(*args, **kwargs)
    kind = injector.enter(call)
    model = injector.durability
    if kind == "SIGINT before":
        raise KeyboardInterrupt
    if kind and kind not in INTERRUPTS and kind not in LATE:
        _fail(call, kind, function, args, model)
    before = seen.before(args, kwargs) if seen is not None else None
    result = function(*args, **kwargs)
    if seen is not None:
        seen.after(model, before, result, args, kwargs)
    if kind == "SIGINT after":
        raise KeyboardInterrupt
    if kind in LATE and call in LATE_CALLS:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return result


def _fail(call: str, kind: str, function: Any, args: Any, model: Durability) -> None:
    code = getattr(errno, kind)
    if call in ("fsync", "fdatasync", "close"):
        model.sync_failed(real["fstat"](args[0]))
    if call == "close":
        function(*args)  # Linux closes the descriptor whatever it reports
    raise OSError(code, os.strerror(code))


# -- what the model of the disk learns from each call


class _Seen:
    def before(self, args: Any, kwargs: Any) -> Any:
        return None

    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        raise NotImplementedError


def _parent(path: Any, dir_fd: int | None) -> tuple[os.stat_result, str]:
    path = os.fsdecode(path)
    above, name = os.path.split(path.rstrip("/"))
    with paused():
        return real["stat"](above or ".", dir_fd=dir_fd), name


class _Open(_Seen):
    def before(self, args: Any, kwargs: Any) -> Any:
        if not args[1] & os.O_CREAT or args[1] & os.O_TMPFILE == os.O_TMPFILE:
            return True
        try:
            real["stat"](args[0], dir_fd=kwargs.get("dir_fd"), follow_symlinks=False)
        except OSError:
            return False
        return True

    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        found = real["fstat"](result)
        if args[1] & os.O_TMPFILE == os.O_TMPFILE:
            model.created(found)
        elif not before:
            model.created(found)
            model.named(*_parent(args[0], kwargs.get("dir_fd")))
        elif args[1] & os.O_TRUNC:
            model.truncated(found, 0)


class _Write(_Seen):
    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        at = args[2] if len(args) > 2 else os.lseek(args[0], 0, os.SEEK_CUR) - result
        model.wrote(real["fstat"](args[0]), at, result)


class _Copy(_Seen):
    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        at = args[4] if len(args) > 4 else kwargs.get("offset_dst")
        if at is None:
            at = os.lseek(args[1], 0, os.SEEK_CUR) - result
        model.wrote(real["fstat"](args[1]), at, result)


class _Truncate(_Seen):
    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        model.truncated(real["fstat"](args[0]), args[1])


class _Sync(_Seen):
    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        model.synced(real["fstat"](args[0]))


class _Dropped(_Seen):
    """Pages that leave the cache: what a failed sync lost is then read as the disk has it."""

    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        if args[3] == os.POSIX_FADV_DONTNEED:
            for at, end in model.dropped(real["fstat"](args[0])):
                real["pwrite"](args[0], bytes(end - at), at)


class _Name(_Seen):
    """A call that gives or takes one name, its first argument."""

    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        above, name = _parent(args[0], kwargs.get("dir_fd"))
        model.named(above, name)


class _TwoNames(_Seen):
    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        model.named(*_parent(args[1], kwargs.get("dst_dir_fd")))
        if os.path.dirname(os.fsdecode(args[0])) != "/proc/self/fd":
            model.named(*_parent(args[0], kwargs.get("src_dir_fd")))


_SEEN: dict[str, _Seen] = {
    "open": _Open(),
    "write": _Write(),
    "pwrite": _Write(),
    "pwritev": _Write(),
    "copy_file_range": _Copy(),
    "ftruncate": _Truncate(),
    "fsync": _Sync(),
    "fdatasync": _Sync(),
    "posix_fadvise": _Dropped(),
    "mkdir": _Name(),
    "unlink": _Name(),
    "remove": _Name(),
    "rmdir": _Name(),
    "link": _TwoNames(),
    "rename": _TwoNames(),
    "replace": _TwoNames(),
}


# -- putting it in place


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Put the wrappers in place; without an `active` injector they change nothing."""
    with contextlib.ExitStack() as stack:
        for name in _CALLS:
            _replace(stack, os, name, _wrapper(name, real[name]))
        for name in ("fcntl", "flock", "lockf"):
            _replace(stack, fcntl, name, _wrapper(f"fcntl.{name}", getattr(fcntl, name)))
        _replace(stack, files, "_libc_function", _library(files._libc_function))
        _replace(stack, sqlite3, "connect", _connector(sqlite3.connect))
        for module in _store_modules():
            _replace(stack, module, "open", _wrapper("open()", builtins.open))
        yield


def _store_modules() -> list[Any]:
    for module in pkgutil.iter_modules(contentui.stores.local.__path__):
        importlib.import_module(f"contentui.stores.local.{module.name}")
    importlib.import_module("contentui.stores.daemon")
    shared = [importlib.import_module(f"contentui.stores.{name}") for name in ("files", "procfs")]
    return shared + [
        sys.modules[name] for name in sys.modules if name.startswith("contentui.stores.local.")
    ]


def _replace(stack: contextlib.ExitStack, place: Any, name: str, new: Any) -> None:
    had, old = name in vars(place), vars(place).get(name)
    setattr(place, name, new)
    stack.callback(lambda: setattr(place, name, old) if had else delattr(place, name))


def _wrapper(call: str, function: Any) -> Any:
    seen = _SEEN.get(call)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _run(call, function, args, kwargs, seen)

    return wrapped


def _library(lookup: Any) -> Any:
    def libc_function(name: str) -> Any:
        function = lookup(name)
        if function is None:
            return None

        def wrapped(*args: Any) -> int:
            try:
                return _run(name, function, args, {}, _Library(name))
            except OSError as error:
                if name == "sync_file_range" and _active is not None:
                    _active.durability.sync_failed(real["fstat"](args[0]))
                ctypes.set_errno(error.errno or 0)
                return -1

        return wrapped

    return libc_function


class _Library(_Seen):
    def __init__(self, name: str) -> None:
        self._name = name

    def after(self, model: Durability, before: Any, result: Any, args: Any, kwargs: Any) -> None:
        if self._name == "renameat2" and result == 0:
            model.named(*_parent(args[1], args[0]))
            model.named(*_parent(args[3], args[2]))


def _connector(connect: Any) -> Any:
    def connected(*args: Any, **kwargs: Any) -> Any:
        try:
            return _run("sql connect", connect, args, {"factory": Connection, **kwargs})
        except OSError as error:
            raise _sql_error(errno.errorcode[error.errno or 0]) from None

    return connected


class Connection(sqlite3.Connection):
    """A connection whose statements count as calls."""

    def execute(self, sql: str, *args: Any) -> Any:
        return self._statement(sql, super().execute, (sql, *args))

    def executemany(self, sql: str, *args: Any) -> Any:
        return self._statement(sql, super().executemany, (sql, *args))

    def executescript(self, sql: str) -> Any:
        return self._statement(sql, super().executescript, (sql,))

    def close(self) -> None:
        self._statement("close", super().close, ())

    @staticmethod
    def _statement(sql: str, function: Any, args: Any) -> Any:
        name = "sql " + " ".join(sql.split()[:2])
        if sql == "close" and (
            _active is None or _active.fault is None or "SIG" not in _active.fault.kind
        ):
            return function(*args)  # closing reports nothing
        try:
            return _run(name, function, args, {})
        except OSError as error:
            raise _sql_error(errno.errorcode[error.errno or 0]) from None


def _sql_error(kind: str) -> sqlite3.Error:
    name, text = _SQL_ERRORS[kind]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name, 1)
    return error
