"""Asking for ingests' locks, and what they hold, because a person wants to know."""

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

AT_ONCE = 50
"""Ingests that one key press asks for at most."""
_NAME_CELLS = 32
LARGE = 1 << 30
"""Bytes from which on a collector's daemon is busy long enough to ask first."""


class Answer(NamedTuple):
    """One ingest that was asked for."""

    seen: Status
    probe: Probe | None
    error: ContentError | None

    @property
    def name(self) -> str:
        """The ingest's ref, whole and safe for a terminal."""
        return visible(self.seen.ref or ref_argument(self.seen), 1000)

    def lines(self, now_ns: int) -> list[Line]:
        """What there is to say about it, without its name."""
        from contentui.present.plans import Line
        from contentui.present.probes import probe_lines

        if self.probe is not None:
            return [each for each in probe_lines(self.probe, now_ns) if each.style != "name"]
        error = self.error or ContentError("it was not asked for")
        lines = [Line("danger", visible(error.message, 600))]
        return [*lines, Line("text", visible(error.advice, 300))] if error.advice else lines

    @property
    def word(self) -> str:
        """What it comes to, in a word or two."""
        if self.probe is None:
            return "not told"
        from contentui.actions.probe import Finding, finding

        found = finding(self.probe)
        return {Finding.PARTIAL: "free", Finding.RIGHT: "free and right"}.get(found, found.value)


def shown_name(status: Status) -> str:
    """An ingest's name with its namespace, in few words and safe for a terminal."""
    name = elide_middle(visible(status.ref or ref_argument(status), 200), _NAME_CELLS)
    return f"{visible(status.namespace, 100)}: {name}" if status.namespace else name


def summary(answers: Sequence[Answer]) -> str:
    """``5 asked: 2 held, 1 free, 1 poisoned, 1 failed``."""
    counts: dict[str, int] = {}
    for answer in answers:
        counts[answer.word] = counts.get(answer.word, 0) + 1
    return f"{len(answers):,} asked: " + ", ".join(f"{n:,} {word}" for word, n in counts.items())


def question(targets: Sequence[Status]) -> str:
    """What asking a collector's daemon for ``targets`` costs it; empty where that is little."""
    size = sum(status.offset for status in targets)
    if size <= LARGE:
        return ""
    what = (
        shown_name(targets[0]) if len(targets) == 1 else f"these {len(targets):,} ingests together"
    )
    return (
        f"To answer, the daemon reads all {human_size(size)} of {what}, while every other change"
        " to its content waits. What is held is told at once, without that. What is free begins"
        " its 24 hours anew."
    )
