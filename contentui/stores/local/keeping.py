"""Who keeps a store's directory, asked anew each second: that decides what may be done there."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from contentui.content.model import Holder, ingest_id, split_backend_ref
from contentui.stores.local import ownership

if TYPE_CHECKING:
    from collections.abc import Iterable

    from contentui.content.model import IngestId, Status
    from contentui.stores.daemon import OpenIngests
    from contentui.stores.local.marks import Claim

FRESH_S = 1.0
"""How old an answer may be: a daemon or a service may start on the directory at any time."""


class _Answer:
    """What was found at one look; never changed after, but for what is looked up when asked."""

    def __init__(self, root: str, *, claimed: bool) -> None:
        self._root = root
        self.at = time.monotonic()
        self.failure: OSError | None = None
        """Why the owner is unknown; then nothing may be changed."""
        try:
            self.reason = ownership.find_read_only_reason(root, claimed=claimed)
        except OSError as error:
            self.failure, self.reason = error, ownership.unknown_reason(root, error)
        self.kept = ownership.kept(root, claimed=claimed)

    @cached_property
    def daemon(self) -> tuple[OpenIngests, Holder] | None:
        """The containerd that runs here, as a holder; None: there is none, or none that we see."""
        pid = ownership.daemon_pid(self._root)
        if not pid:
            return None
        from contentui.stores.daemon import OpenIngests
        from contentui.stores.local.procfs import process_command, process_started_ns

        holder = Holder(pid, process_started_ns(pid), process_command(pid), 0)
        return OpenIngests(pid), holder


class Keeping:
    """The keeper of the directory ``root``; ``claim`` makes it the caller himself."""

    def __init__(self, root: str, claim: Claim | None) -> None:
        self._root = root
        self._claim = claim
        self._last: _Answer | None = None

    @property
    def read_only_reason(self) -> str:
        """Why the directory must not be changed from here; empty when it may be."""
        return self._answer().reason

    def check(self) -> None:
        """Raises OSError when the owner of the directory is unknown."""
        failure = self._answer().failure
        if failure is not None:
            self._last = None  # it may pass
            raise failure

    @property
    def is_daemons(self) -> bool:
        """Whether a containerd's refs are here, to be shown as its clients know them."""
        return self._answer().kept is not ownership.Kept.BY_NOBODY

    @property
    def writes_by_itself(self) -> bool:
        """Whether the daemon writes here itself, without any lock of ours."""
        return self._answer().kept is ownership.Kept.BY_CONTAINERD

    @property
    def tells_holders(self) -> bool:
        """Whether who holds a ref can be known."""
        if not self.writes_by_itself:
            return True
        daemon = self._answer().daemon
        return daemon is not None and daemon[0].may_be_read()

    def daemons_holders(self, ids: Iterable[IngestId]) -> dict[IngestId, Holder] | None:
        """Which of these ingests the containerd that writes here has open; None: not to be told."""
        daemon = self._answer().daemon
        if daemon is None:
            return None
        open_ingests, holder = daemon
        held = open_ingests.held()
        return None if held is None else {ident: holder for ident in ids if ident in held}

    def _answer(self) -> _Answer:
        last = self._last
        if last is None or time.monotonic() - last.at > FRESH_S:
            claimed = self._claim is not None and self._claim.is_held
            self._last = last = _Answer(self._root, claimed=claimed)
        return last


def client_status(status: Status) -> Status:
    """An ingest in a containerd's directory as the daemon's clients know it.

    Only where the directory's name proves that the ref is the ingest's (content-store.md 1.3).
    """
    if status.namespace or (status.damage and ingest_id(str(status.ref)) != status.id):
        return status
    namespace, ref = split_backend_ref(status.ref)
    return status._replace(ref=ref, namespace=namespace) if namespace else status
