"""Results of probes of ingests as texts for the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import ContentError
from contentui.content.model import ref_argument
from contentui.present.cells import elide_middle
from contentui.text import human_size, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.model import Probe, Status
    from contentui.present.plans import Line

MAX_PROBES = 50
"""Ingests that one key press probes at most."""
_NAME_CELLS = 32
LARGE = 1 << 30
"""Bytes from which a daemon reads so long for a probe that the user is asked first."""


class ProbeResult(NamedTuple):
    """One ingest that was probed."""

    status: Status
    probe: Probe | None
    error: ContentError | None

    @property
    def name(self) -> str:
        """The ingest's ref, whole and safe for a terminal."""
        return visible(self.status.ref or ref_argument(self.status), 1000)

    def lines(self, now_ns: int) -> list[Line]:
        """The lines of the result, without the name of the ingest."""
        from contentui.present.plans import Line
        from contentui.present.probes import probe_lines

        if self.probe is not None:
            return [each for each in probe_lines(self.probe, now_ns) if each.style != "name"]
        error = self.error or ContentError("it was not probed")
        lines = [Line("danger", visible(error.message, 600))]
        return [*lines, Line("text", visible(error.advice, 300))] if error.advice else lines

    @property
    def label(self) -> str:
        """The finding in one or two words."""
        if self.probe is None:
            return "unknown"
        from contentui.actions.probe import Finding, finding

        found = finding(self.probe)
        return {Finding.PARTIAL: "free", Finding.RIGHT: "free and right"}.get(found, found.value)


def short_name(status: Status) -> str:
    """An ingest's name with its namespace, in few words and safe for a terminal."""
    name = elide_middle(visible(status.ref or ref_argument(status), 200), _NAME_CELLS)
    return f"{visible(status.namespace, 100)}: {name}" if status.namespace else name


def summary(results: Sequence[ProbeResult]) -> str:
    """``5 probed: 2 held, 1 free, 1 poisoned, 1 failed``."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.label] = counts.get(result.label, 0) + 1
    return f"{len(results):,} probed: " + ", ".join(f"{n:,} {label}" for label, n in counts.items())


def cost_question(targets: Sequence[Status]) -> str:
    """What a probe of ``targets`` costs a containerd, as text; empty up to `LARGE` bytes."""
    size = sum(status.offset for status in targets)
    if size <= LARGE:
        return ""
    what = (
        short_name(targets[0]) if len(targets) == 1 else f"these {len(targets):,} ingests together"
    )
    return (
        f"For this the daemon reads all {human_size(size)} of {what}, while every other change"
        " to its content waits. It answers at once for an ingest that is held. An ingest that is"
        " free expires 24 hours from now."
    )
