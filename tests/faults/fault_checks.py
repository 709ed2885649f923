"""What must be so after a fault: the content, what was acknowledged, nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import operations
from operations import LONG, Operation

from contentui.content.digest import HEX_LENGTHS, Digest
from contentui.content.errors import (
    ContentError,
    Locked,
    PermissionDenied,
    ReadOnly,
    ResourceExhausted,
    Unavailable,
)
from contentui.content.model import ingest_id
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durable import Durability
    from injected import Fault


_TYPES: dict[str, tuple[type[ContentError], ...]] = {
    "ENOSPC": (ResourceExhausted,),
    "EDQUOT": (ResourceExhausted,),
    "EMFILE": (ResourceExhausted,),
    "ENOMEM": (ResourceExhausted, Unavailable),
    "EACCES": (PermissionDenied,),
    "EROFS": (ReadOnly, PermissionDenied),
}


class State(NamedTuple):
    """What is in a store, as a reader finds it, without times."""

    blobs: dict[str, tuple[bytes, Any]]
    """Bytes and labels by digest."""
    ingests: dict[str, tuple[Any, ...]]
    """By id: ref, bytes, total, wanted and refused digest; or the ref, bytes and a damage."""
    images: dict[str, tuple[Any, ...]]
    files: frozenset[str]


def look(root: str) -> State:
    blobs: dict[str, tuple[bytes, Any]] = {}
    ingests: dict[str, tuple[Any, ...]] = {}
    images: dict[str, tuple[Any, ...]] = {}
    if os.path.isdir(root):
        with LocalStore(root) as store:
            for info in store.walk():
                data = _bytes(f"{root}/blobs/{info.digest.algorithm}/{info.digest.encoded}")
                blobs[info.digest] = (data, info.labels)
            for status in store.statuses():
                data = _bytes(f"{root}/ingest/{status.id}/data")
                facts = (status.total, status.expected, status.refused)
                ingests[status.id] = (
                    status.ref,
                    data,
                    *(facts if not status.damage else (status.damage,)),
                )
            for image in store.images.list():
                images[image.name] = (image.target, dict(image.labels))
    return State(blobs, ingests, images, frozenset(_tree(root)))


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _tree(root: str) -> Iterator[str]:
    for above, folders, names in os.walk(root):
        for name in (*folders, *names):
            yield os.path.relpath(os.path.join(above, name), root)


class Plain(NamedTuple):
    """A run without faults: what the others are measured by."""

    before: State
    after: State
    calls: dict[bool, list[str]]


def is_typed(operation: Operation, error: type[BaseException], fault: Fault) -> bool:
    """Whether the error is one of the store's, with a message."""
    if fault.kind.startswith("SIGINT"):
        return issubclass(error, KeyboardInterrupt)
    if fault.kind == "other:abort short":
        return issubclass(error, ContentError)
    if fault.kind.startswith("other:"):
        return issubclass(error, Locked)
    if fault.call.startswith("fcntl") and fault.kind == "EACCES" and issubclass(error, Locked):
        return True
    kinds = _TYPES.get(fault.kind, (Unavailable,))
    if fault.call.startswith("sql"):
        kinds = (*kinds, Unavailable, ResourceExhausted)
    return issubclass(error, (*kinds, *operation.refusals))


def differences(wanted: State, state: State, besides: set[str] | None = None) -> list[str]:
    wrong = []
    for kind in ("blobs", "ingests", "images"):
        want, have = getattr(wanted, kind), getattr(state, kind)
        wrong += [
            f"in the end {kind[:-1]} {_name(key)} is {_brief(have.get(key))},"
            f" not {_brief(want.get(key))}"
            for key in want.keys() | have.keys()
            if want.get(key) != have.get(key) and key not in (besides or ())
        ]
    more = sorted(state.files - wanted.files - {".contentui/naming"})
    if more and not besides:
        wrong.append(f"left behind: {more}")
    if ".contentui/labels.db-journal" in more or ".contentui/images.db-journal" in more:
        wrong.append("left behind: a journal")
    return wrong


def leaks(before: set[str], fault: Fault) -> list[str]:
    """Close what is still open, and say what it was."""
    wrong = []
    if set(os.listdir("/proc/self/fd")) - before:
        gc.collect()
    for name in set(os.listdir("/proc/self/fd")) - before:
        with contextlib.suppress(OSError):
            what = os.readlink(f"/proc/self/fd/{name}")
            if what.startswith(("pipe:", "/proc/")) or "case-" not in what:
                continue
            os.close(int(name))
            # An interrupt just before a close can't be distinguished from one just after it.
            if fault.call not in ("close", "open") or not fault.kind.startswith("SIGINT"):
                wrong.append(f"left open: {what.split('case-')[-1][:60]}")
    return wrong


def _taken_soon(fd: int) -> bool:
    """A thread that waited in vain gets the lock when it comes free, and lets it go at once."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False


def held(root: str) -> list[str]:
    """Locks and transactions that outlived the operation."""
    wrong = []
    try:
        fd = os.open(f"{root}/.contentui/naming", os.O_RDWR)
    except OSError:
        pass
    else:
        try:
            if not _taken_soon(fd):
                wrong.append("left locked: naming")
        finally:
            os.close(fd)
    for name in ("labels.db", "images.db"):
        if os.path.exists(f"{root}/.contentui/{name}"):
            with contextlib.closing(
                sqlite3.connect(
                    f"file:{root}/.contentui/{name}?mode=rw",
                    uri=True,
                    timeout=0,
                    isolation_level=None,
                )
            ) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.Error as error:
                    wrong.append(f"left in a transaction: {name} ({error})")
    return wrong


def unmet(  # noqa: C901 - one branch per kind of fact
    operation: Operation,
    root: str,
    state: State,
    model: Durability,
    *,
    labels: bool = True,
    leftovers: bool = False,
) -> list[str]:
    """Which facts an acknowledgement claims that are not so, or not durably so.

    ``leftovers``: an ingest may be left beside its blob for a while.
    """
    leftovers = leftovers and any(isinstance(fact, operations.Blob) for fact in operation.facts)
    wrong: list[str] = []
    base = os.path.dirname(root)
    for fact in operation.facts:
        if isinstance(fact, operations.Blob):
            wrong += _unmet_blob(fact, root, base, state, model, labels=labels)
        elif isinstance(fact, operations.NoBlob):
            digest = Digest.of(fact.data)
            if digest in state.blobs:
                wrong.append(f"blob {digest.short()} is there")
            wrong += model.of_name(f"{root}/blobs/sha256/{digest.encoded}", base)
        elif isinstance(fact, operations.Ingest):
            ident = ingest_id(fact.ref)
            found = state.ingests.get(ident)
            if found is None or found[:2] != (fact.ref, fact.data):
                wrong.append(f"ingest {fact.ref} is {_brief(found)}")
            wrong += model.of_file(f"{root}/ingest/{ident}/data", base)
        elif isinstance(fact, operations.NoIngest):
            if ingest_id(fact.ref) in state.ingests and not leftovers:
                wrong.append(f"ingest {fact.ref} is there")
        elif (found := state.images.get(fact.name)) is None or fact.digest is None:
            if (found is None) != (fact.digest is None):
                wrong.append(f"image {fact.name} is {found}")
        elif found[0].digest != fact.digest:
            wrong.append(f"image {fact.name} is {found}")
    return wrong


def _unmet_blob(
    fact: operations.Blob,
    root: str,
    base: str,
    state: State,
    model: Durability,
    *,
    labels: bool,
) -> list[str]:
    digest = fact.digest
    if digest not in state.blobs:
        return [f"blob {digest.short()} is missing"]
    data, found = state.blobs[digest]
    wrong = model.of_file(f"{root}/blobs/{digest.algorithm}/{digest.encoded}", base)
    if data != fact.data:
        wrong.append(f"blob {digest.short()} has other bytes")
    if labels and found != fact.labels:
        wrong.append(f"blob {digest.short()} has the labels {found}, not {fact.labels}")
    if found:
        wrong += model.of_name(f"{root}/.contentui/labels.db", base)
    return wrong


def changes(operation: Operation, plain: Plain, state: State, fault: Fault) -> list[str]:
    """What is neither as it was nor as it may be while the operation is not complete."""
    wrong = []
    besides = {Digest.of(operation.target)} if fault.kind.startswith("other:") else set()
    for kind in ("blobs", "images"):
        before, after, now = (getattr(s, kind) for s in (plain.before, plain.after, state))
        wrong += [
            f"then {kind[:-1]} {_name(key)} is {_brief(now.get(key))}"
            for key in before.keys() | after.keys() | now.keys()
            if now.get(key) not in (before.get(key), after.get(key)) and key not in besides
        ]
    touched = {ingest_id(fact.ref) for fact in operation.facts if hasattr(fact, "ref")}
    committed = any(
        isinstance(fact, operations.Blob) and fact.digest in state.blobs for fact in operation.facts
    )
    for key in plain.before.ingests.keys() | state.ingests.keys():
        now, old = state.ingests.get(key), plain.before.ingests.get(key)
        if now == old or now == plain.after.ingests.get(key):
            continue
        if key not in touched:
            wrong.append(f"then ingest {_name(key)} is {_brief(now)}, not {_brief(old)}")
        else:
            wrong += _wrong_bytes(operation, key, old, now, fault, committed=committed)
    for digest, (data, _) in state.blobs.items():
        if Digest.of(data, digest[:6]) != digest and len(data) not in HEX_LENGTHS:
            wrong.append(f"then blob {_name(digest)} has other bytes")
    return wrong


_SYNCS = ("fsync", "fdatasync", "sync_file_range", "close")


def _wrong_bytes(
    operation: Operation, key: str, old: Any, now: Any, fault: Fault, *, committed: bool
) -> list[str]:
    """What is wrong with an ingest that the operation was changing."""
    kept = old[1] if old else b""
    have = now[1] if now else b""
    if not (_is_beginning(have) or kept.startswith(have)):
        return [f"then ingest {_name(key)} has foreign bytes"]
    # Bytes that a failed sync lost may be dropped; others only on demand.
    if committed or operation.drops or fault.call in _SYNCS:
        return []
    if len(have) < len(kept):
        return [f"then {len(kept) - len(have)} acknowledged bytes of ingest {_name(key)} are gone"]
    return []


def _is_beginning(data: bytes) -> bool:
    known = (LONG, operations.SHORT, operations.GHOST, operations.LABELLED)
    return any(whole.startswith(data) for whole in known)


def _name(key: str) -> str:
    return key[:19]


def _brief(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_brief, value)) + ")"
    if isinstance(value, bytes) and len(value) > 20:
        return f"{len(value)} bytes"
    return "absent" if value is None else repr(value)
