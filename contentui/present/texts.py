"""What a person reads about ingests and blobs: states, holders, labels, single records."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from contentui.content.model import ref_argument
from contentui.text import human_age, human_size, local_time, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from contentui.content.model import Holder, Info, IngestId, Status


_SPLITTING = frozenset("'\"\\ ")
"""What splits words for xargs, among the characters that a typed ref can have."""


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Labels on one line; ``unknown`` when they are."""
    if labels is None:
        return "unknown"
    return ",".join(visible(f"{key}={value}") for key, value in sorted(labels.items()))


def holder_text(holder: Holder, now_ns: int | None = None) -> str:
    """A holder as ``pid 42 (contentui ingest x), since 3m``, or as a client of the daemon."""
    pid = f"pid {holder.pid}" if holder.pid else "an unknown process"
    if holder.foreign:
        pid += " of another pid namespace"
    if holder.serves:
        pid = f"a client of {visible(holder.service, 200)} ({pid})"
    elif holder.command:
        pid += f" ({visible(holder.command, 200)})"
    if holder.since_ns:
        pid += f", since {human_age(holder.since_ns, now_ns or time.time_ns())}"
    return pid


def holder_short(holder: Holder) -> str:
    """A holder for a narrow column."""
    return "a client" if holder.serves else f"pid {holder.pid or '?'}"


def is_complete(status: Status) -> bool:
    """Whether all declared bytes are there."""
    return status.total > 0 and status.offset == status.total


def state_text(
    status: Status, holders: Mapping[IngestId, Holder] | None, now_ns: int, *, full: bool = False
) -> str:
    """``held by pid 42``, ``idle 3m``, ``complete``, ``poisoned``, ``damaged: …``."""
    words = []
    if status.damage:
        words.append(f"damaged: {visible(status.damage)}")
    elif status.refused:
        words.append("poisoned")
    elif is_complete(status):
        words.append("complete")
    holder = holders.get(status.id) if holders is not None else None
    if holder is not None:
        who = holder_text(holder, now_ns) if full else holder_short(holder)
        words.append(f"held by {who}")
    elif holders is None:
        words.append("holder unknown")
    elif not words:
        age = human_age(status.updated_ns, now_ns)
        words.append("idle" if age == "now" else f"idle {age}")
    return ", ".join(words)


def total_text(status: Status) -> str:
    """The declared total, ``?`` without one."""
    return human_size(status.total) if status.total else "?"


def refs_for_pipes(statuses: Iterable[Status]) -> Iterator[str]:
    """Refs as words for xargs; ``id:HEX`` also where several namespaces have the same one."""
    from collections import Counter

    statuses = list(statuses)
    counts = Counter(status.ref for status in statuses)
    return (ref_for_pipes(status, shared=counts[status.ref] > 1) for status in statuses)


def ref_for_pipes(status: Status, *, shared: bool = False) -> str:
    """A ref as one word for xargs; ``id:HEX`` where blanks, quotes or backslashes would split it.

    A split ref could name another ingest; so could one that is ``shared`` by namespaces.
    """
    argument = ref_argument(status)
    if shared or not _SPLITTING.isdisjoint(argument):
        from contentui.content.model import id_text

        return "id:" + id_text(status.id)
    return argument


def record_lines(fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    """``name  value`` lines of one record, the values aligned."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"{name:<{width}}  {value}".rstrip()


def exact_size(size: int) -> str:
    """``34.3 MB (34312345 bytes)``."""
    return f"{size} bytes" if size < 1000 else f"{human_size(size)} ({size} bytes)"


def moment(time_ns: int, now_ns: int) -> str:
    """A time of this zone and its age."""
    if time_ns <= 0:
        return "unknown"
    age = human_age(time_ns, now_ns)
    return f"{local_time(time_ns)} ({age if age in ('now', 'future') else age + ' ago'})"


def status_fields(
    status: Status, holders: Mapping[IngestId, Holder] | None, now_ns: int
) -> Iterator[tuple[str, str]]:
    """An ingest in full, for people."""
    yield "ref", visible(status.ref) if status.ref else "(lost)"
    yield "named as", visible(ref_argument(status))
    if status.namespace:
        yield "namespace", visible(status.namespace)
    yield "offset", exact_size(status.offset)
    yield "total", exact_size(status.total) if status.total else "undeclared"
    yield "started", moment(status.started_ns, now_ns)
    yield "updated", moment(status.updated_ns, now_ns)
    yield "expected", str(status.expected or "nothing declared")
    if status.refused:
        yield "refused", f"a commit refused these bytes: they are {status.refused}"
    yield "state", state_text(status, holders, now_ns, full=True)


def info_fields(info: Info, now_ns: int) -> Iterator[tuple[str, str]]:
    """A blob in full, for people."""
    yield "digest", str(info.digest)
    yield "size", exact_size(info.size)
    yield "committed", moment(info.committed_ns, now_ns)
    yield "updated", moment(info.updated_ns, now_ns)
    if info.namespaces:
        yield "namespaces", visible(", ".join(info.namespaces))
    if info.labels is None:
        yield "labels", "unknown"
    elif not info.labels:
        yield "labels", "none"
    for key, value in sorted((info.labels or {}).items()):
        yield "label", visible(f"{key}={value}")


def shell_line(words: Sequence[str]) -> str:
    """A command that can be pasted into bash, zsh or ksh, whatever bytes are in its words."""
    return " ".join(map(_shell_word, words))


def _shell_word(word: str) -> str:
    if word.isprintable():
        import shlex

        return shlex.quote(word)
    escaped = (
        chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}"
        for byte in os.fsencode(word)
    )
    return f"$'{''.join(escaped)}'"
