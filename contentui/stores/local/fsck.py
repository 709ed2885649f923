"""Checking a directory for damage by crashes, other programs and failing disks.

`check` changes nothing. `repair` reads each finding again under the lock that protects it, and
skips what has changed: both are safe while other processes write to the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.errors import Changed, ContentError, Locked, NotFound, ReadOnly
from contentui.stores import files
from contentui.stores.local import fsck_content, fsck_state
from contentui.stores.local.fsck_model import Finding, Kind, OpenStore, Repaired
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from contentui.content.streams import Progress
    from contentui.stores.local.store import LocalStore

__all__ = ["Finding", "Kind", "Repaired", "check", "check_bytes", "repair"]

_CHECKS: tuple[tuple[str, Callable[[OpenStore], list[Finding]]], ...] = (
    ("blobs", fsck_content.blobs),
    ("ingest", fsck_content.ingests),
    (".contentui", fsck_state.databases),
    (".contentui", fsck_state.leftovers),
    (".contentui", fsck_state.lost_names),
    (".contentui", fsck_state.modes),
    (".contentui", fsck_state.ownership_of),
    (".contentui/transfers", fsck_state.transfers),
)
_REPAIRS: dict[Kind, Callable[[OpenStore, Finding], None]] = {
    Kind.INGEST_DAMAGED: fsck_content.abort_ingest,
    Kind.BLOB_MODE: fsck_content.set_blob_mode,
    Kind.BLOB_NAME: fsck_state.restore_name,
    Kind.FILE_MODE: fsck_state.set_file_mode,
    Kind.LEFTOVER: fsck_state.remove_leftover,
    Kind.OWNER_STALE: fsck_state.clear_owner,
}


def check(store: LocalStore) -> list[Finding]:
    """All that is wrong; a part that can't be read is a finding of its own.

    Writes nothing. Holds no lock, except the naming lock for some milliseconds if the store is
    writable.
    """
    found: list[Finding] = []
    with OpenStore(store) as place:
        for where, look in _CHECKS:
            try:
                with files.map_errors(f"checking {where}"):
                    found += look(place)
            except ContentError as error:
                message = visible(error.message)
                found.append(Finding(Kind.UNCHECKED, where, message, advice=error.advice))
    return list(dict.fromkeys(found))


def check_bytes(store: LocalStore, progress: Progress | None = None) -> list[Finding]:
    """The blobs whose bytes do not match their digests; reads all of them.

    ``progress`` is called with the number of bytes read.
    """
    return fsck_content.altered(store, progress)


def repair(store: LocalStore, findings: Sequence[Finding]) -> Iterator[Repaired]:
    """Repair what can be repaired, one finding after the other; others are left out.

    KeyboardInterrupt ends it after the outcome of the current finding was returned.

    Raises:
        ReadOnly: the store must not be changed from here.
    """
    if reason := store.traits.read_only_reason:
        raise ReadOnly(f"{visible(store.name)} is read-only here", advice=reason)
    chosen = [finding for finding in findings if finding.repair]
    labels = [finding for finding in chosen if finding.kind is Kind.LABELS_WITHOUT_BLOB]
    with OpenStore(store) as place:
        if labels:
            yield from _repair_labels(place, labels)
        for finding in chosen:
            if finding.kind is Kind.LABELS_WITHOUT_BLOB:
                continue
            try:
                outcome = _repair(place, finding)
            except KeyboardInterrupt:
                yield _interrupted(finding)
                raise
            yield outcome


def _repair(place: OpenStore, finding: Finding) -> Repaired:
    try:
        if reason := place.store.traits.read_only_reason:  # a service or a daemon has started since
            raise ReadOnly(f"the store has become read-only: {reason}")
        with files.map_errors(f"repairing {finding.name}"):
            _REPAIRS[finding.kind](place, finding)
    except (NotFound, Changed, Locked) as error:
        return Repaired(finding, "skipped", error.message, error)
    except ContentError as error:
        return Repaired(finding, "failed", error.message, error)
    return Repaired(finding, "done")


def _interrupted(finding: Finding) -> Repaired:
    return Repaired(finding, "failed", "it was interrupted; check again")


def _repair_labels(place: OpenStore, findings: Sequence[Finding]) -> Iterator[Repaired]:
    """In one transaction, since each transaction is synced."""
    try:
        removed = set(place.store.drop_orphan_labels([finding.name for finding in findings]))
    except ContentError as error:
        for finding in findings:
            yield Repaired(finding, "failed", error.message, error)
        return
    except KeyboardInterrupt:
        yield from map(_interrupted, findings)
        raise
    for finding in findings:
        if finding.name in removed:
            yield Repaired(finding, "done")
        else:
            gone = NotFound("the blob exists again")
            yield Repaired(finding, "skipped", gone.message, gone)
