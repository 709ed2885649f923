"""What is done with a directory itself, beyond what every store can do.

Verbs about directories (init, adopt, fsck, serve) go through this module: besides the table in
`contentui.stores.open` it alone imports the store of directories.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from contentui.content.errors import FailedPrecondition, InvalidArgument, ReadOnly
from contentui.stores.local import sharing
from contentui.stores.local.fsck import Finding, Kind, Repaired, check, check_bytes, repair
from contentui.stores.local.opener import content_root
from contentui.stores.local.ownership import adopt, bind, bound_to, lock_directory, read_only_reason
from contentui.stores.local.store import LocalStore
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.store import Store
    from contentui.stores.source import Source

__all__ = [
    "Finding", "Kind", "LocalStore", "Repaired", "adopt", "check", "check_bytes", "checkable",
    "make", "path_of", "repair", "served",
]  # fmt: skip


def path_of(source: Source, use: str) -> str:
    """The path of the content in the directory that ``source`` refers to.

    ``use``: what is about to be done with it, as in ``served``.

    Raises:
        InvalidArgument: it is not a directory's.
    """
    source.check()
    if not source.is_directory:
        raise InvalidArgument(
            f"{visible(source.text)} is not a directory, and only a directory can be {use}",
            advice="use --store DIRECTORY, on the machine that has it",
        )
    return content_root(source.path)


def checkable(store: Store) -> LocalStore:
    """The store, if `check` and `repair` can be used on it.

    Raises:
        FailedPrecondition: it is not a directory.
    """
    if not isinstance(store, LocalStore):
        raise FailedPrecondition(
            f"{visible(store.name)} is not a directory, and only a directory can be checked",
            advice="run 'contentui --store DIRECTORY fsck' on the machine that has it",
        )
    return store


def make(source: Source, *, group: int | None, read_only: bool = False) -> None:
    """Make a store in the directory, or open an existing one to a group, by its id.

    Raises:
        InvalidArgument: the source is not a directory's.
        ReadOnly: ``read_only``, or it must not be changed from here.
        ContentError: as the file system refuses; the directory is used for something else.
    """
    path_of(source, "made a store")
    reason = read_only_reason(source.path)
    if read_only or reason:
        raise ReadOnly(
            f"{visible(source.text)} is read-only here",
            advice=reason or "it was opened read-only (--read-only)",
        )
    LocalStore(source.path).close()  # refuses a directory that is used for something else
    sharing.make(source.path, group)


@contextmanager
def served(
    root: str, address: str, *, for_containerd: str = "", read_only: bool = False
) -> Iterator[Store]:
    """The store in ``root``, which nothing but the service at ``address`` changes meanwhile.

    ``for_containerd``: the root of the containerd whose content it keeps. ``read_only``: serve it
    as it is, beside others that change it.

    Raises:
        InvalidArgument: a containerd's store can't be read-only.
        ReadOnly, FailedPrecondition: it can't be served for writing.
        ContentError: it can't be opened.
    """
    if read_only:
        if for_containerd:
            raise InvalidArgument("a containerd needs a store that it can write to")
        with LocalStore(root, create=False, read_only=True) as store:
            yield store
        return
    with LocalStore(root):
        pass  # raises what is wrong with the directory before anything is made in it
    os.makedirs(root, exist_ok=True)
    _check_daemon(root, for_containerd)
    try:
        held = lock_directory(root, address)
    except ReadOnly as error:
        look = "'contentui serve --read-only' shows it without changing anything"
        raise ReadOnly(error.message, advice=f"{error.advice}; {look}") from None
    with held, LocalStore(root, lock=held) as store:
        if store.traits.read_only_reason:
            raise ReadOnly(
                f"{visible(root)} can't be served for writing", advice=store.traits.read_only_reason
            )
        yield store


def _check_daemon(root: str, for_containerd: str) -> None:
    """Record for which containerd the directory is. Raises FailedPrecondition."""
    daemon = bound_to(root)
    if for_containerd:
        bind(root, for_containerd)
    elif daemon:
        raise FailedPrecondition(
            f"{visible(root)} keeps the content of the containerd at {visible(daemon)}",
            advice=f"serve it with --for-containerd {visible(daemon)}, or look with --read-only",
        )
