"""Text for a shell: commands to paste, and refs for pipes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contentui.content.model import ref_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contentui.content.model import Status

_SPLITTING = frozenset("'\"\\ ")
"""What splits words for xargs, among the characters that a typed ref can have."""


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
