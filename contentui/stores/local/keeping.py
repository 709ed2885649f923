"""Who keeps a store's directory, asked anew each second: that decides what may be done there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contentui.content.model import Holder, ingest_id, split_backend_ref
from contentui.stores.local import ownership

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.model import IngestId, Status
    from contentui.stores.daemon import OpenIngests

FRESH_S = 1.0
"""How old an answer may be: a daemon or a service may start on the directory at any time."""


class Keeping:
    """The keeper of the directory ``root``; ``claim`` makes it the caller himself."""

    def __init__(self, root: str, claim: ownership.Claim | None) -> None:
        self._root = root
        self._claim = claim
        self._asked: float | None = None
        self._reason = ""
        self._kept = ownership.Kept.BY_NOBODY
        self._daemon: OpenIngests | None = None
        self._command = ""
        self._started_ns = 0

    @property
    def read_only_reason(self) -> str:
        """Why the directory must not be changed from here; empty when it may be."""
        self._look()
        return self._reason

    @property
    def is_daemons(self) -> bool:
        """Whether a containerd's refs are here, to be shown as its clients know them."""
        self._look()
        return self._kept is not ownership.Kept.BY_NOBODY

    @property
    def writes_by_itself(self) -> bool:
        """Whether the daemon writes here itself, without any lock of ours."""
        self._look()
        return self._kept is ownership.Kept.BY_CONTAINERD

    @property
    def tells_holders(self) -> bool:
        """Whether who holds a ref can be known."""
        if not self.writes_by_itself:
            return True
        daemon = self._open_ingests()
        return daemon is not None and daemon.may_be_read()

    def daemons_holders(self, ids: Iterable[IngestId]) -> dict[IngestId, Holder] | None:
        """Which of these ingests the containerd that writes here has open; None: not to be told."""
        daemon = self._open_ingests()
        held = None if daemon is None else daemon.held()
        if daemon is None or held is None:
            return None
        holder = Holder(daemon.pid, self._started_ns, self._command, 0)
        return {ident: holder for ident in ids if ident in held}

    def _look(self) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked <= FRESH_S:
            return
        claimed = self._claim is not None and self._claim.is_held
        self._reason = ownership.read_only_reason(self._root, claimed=claimed)
        self._kept = ownership.kept(self._root, claimed=claimed)
        self._daemon = None
        self._asked = now

    def _open_ingests(self) -> OpenIngests | None:
        """Those of the running daemon."""
        self._look()
        if self._daemon is None:
            from contentui.stores.daemon import OpenIngests
            from contentui.stores.local.locks import process_command, process_started_ns

            pid = ownership.daemon_pid(self._root)
            if pid:
                self._daemon = OpenIngests(pid)
                self._command = process_command(pid)
                self._started_ns = process_started_ns(pid)
        return self._daemon


def client_status(status: Status) -> Status:
    """An ingest in a containerd's directory as the daemon's clients know it.

    Only where the directory's name proves that the ref is the ingest's (content-store.md 1.3).
    """
    if status.namespace or (status.damage and ingest_id(str(status.ref)) != status.id):
        return status
    namespace, ref = split_backend_ref(status.ref)
    return status._replace(ref=ref, namespace=namespace) if namespace else status
