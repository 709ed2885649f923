"""Numbers and names as people read them; every name from outside passes through `visible`."""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument
from contentui.glyphs import GLYPHS, UTF8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contentui.content.holder import Holder, Process

_INVISIBLE = "[\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
"""Letters and marks that `str.isprintable` lets pass and that nobody sees."""

_SIZE_UNITS = "kMGTPE"
_MAX_NAMESPACES = 5
_MAX_CLIENTS = 5
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\x{code:02x}")
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


@functools.cache
def _invisible() -> re.Pattern[str]:
    return re.compile(_INVISIBLE)  # a millisecond that plain ASCII never needs


def visible(text: str, limit: int = 4096) -> str:
    """``text`` made safe for this terminal: one line, at most ``limit`` characters before escaping.

    As `escaped`, and in ASCII where the locale has no more.
    """
    if GLYPHS.utf8 or (text.isascii() and len(text) <= limit):
        return escaped(text, limit)
    kept = text if len(text) <= limit else text[: limit - 1]
    shown = "".join(
        [char if char.isascii() and char.isprintable() else _escape(char) for char in kept]
    )
    return shown if kept is text else shown + GLYPHS.cut


def escaped(text: str, limit: int = 4096) -> str:
    """``text`` as one line for any reader of UTF-8, whatever the locale: for records and journals.

    What `str.isprintable` refuses (controls, bidi marks, odd spaces, lone surrogates, characters
    that Unicode has not assigned, whose width each terminal guesses) and what is invisible becomes
    an escape.
    """
    if len(text) > limit:
        text = text[: limit - 1] + UTF8.cut
    if not text.isprintable():
        text = "".join([char if char.isprintable() else _escape(char) for char in text])
    return text if text.isascii() else _invisible().sub(lambda found: _escape(found[0]), text)


def human_size(size: float) -> str:
    """Bytes in decimal units with three digits, as ``ctr`` has them: ``0 B``, ``34.3 MB``."""
    if size < 1000:
        return f"{int(size)} B"
    for unit in _SIZE_UNITS:
        size /= 1000
        if size < 999.5 or unit == "E":
            return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {unit}B"
    raise AssertionError


def human_rate(rate: float) -> str:
    """Bytes per second: ``9.80 MB/s``; ``0 B/s`` below one."""
    return human_size(max(rate, 0)) + "/s"


def human_duration(seconds: float) -> str:
    """A length of time in one unit, rounded down: ``8s``, ``41m``, ``3h``, ``12d``, ``2y``."""
    for unit, length in (("y", 31_557_600), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(int(seconds), 0)}s"


def human_countdown(seconds: float) -> str:
    """A time rounded down, with its second unit below an hour: ``8s``, ``4m47``, ``3h``."""
    if 60 <= seconds < 3600:
        return f"{int(seconds // 60)}m{int(seconds % 60):02}"
    return human_duration(seconds)


def human_age(then_ns: int, now_ns: int) -> str:
    """How long ago; ``now`` below a second, ``?`` when unknown, ``future`` for a later time."""
    if then_ns <= 0:
        return "?"
    age = (now_ns - then_ns) / 1e9
    if age < -2:
        return "future"
    return "now" if age < 1 else human_duration(age)


def holder_text(holder: Holder | None, now_ns: int = 0, *, limit: int = 200) -> str:
    """Who holds a ref: ``pid 4711 (curl …), since 3m``, ``ctr[5310] through containerd (pid 1)``.

    ``now_ns``: the time from which the age of the lock is counted; 0 leaves the age out.
    ``limit``: characters of the command line.
    """
    if holder is None:
        return "an unknown process"
    who = _client_text(holder) if holder.daemon is not None else _process_text(holder, limit)
    if holder.since_ns and now_ns:
        age = human_age(holder.since_ns, now_ns)
        if age not in ("?", "future"):
            who += f", since {'just now' if age == 'now' else age}"
    return who


def _process_text(holder: Holder, limit: int) -> str:
    if not holder.pid:
        return "an unknown process"
    who = f"pid {holder.pid}{' of another pid namespace' if holder.foreign else ''}"
    return f"{who} ({visible(holder.command, limit)})" if holder.command else who


def _client_text(holder: Holder) -> str:
    """The clients of a daemon, one of which holds a ref through it."""
    assert holder.daemon is not None
    name = visible(holder.daemon.command, 60) or "a daemon"
    daemon = f"{name} (pid {holder.daemon.pid})" if holder.daemon.pid else name
    if not holder.clients:
        return f"an unknown client of {daemon}"
    texts = [process_text(client) for client in holder.clients[:_MAX_CLIENTS]]
    if more := len(holder.clients) - len(texts):
        texts.append(f"{more} more")
    who = texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
    return f"{who} through {daemon}"


def process_text(process: Process) -> str:
    """``ctr[5310]``."""
    return f"{visible(process.command, 40) or 'pid'}[{process.pid}]"


def namespaces_text(namespaces: Sequence[str]) -> str:
    """``namespace k8s.io``; ``namespaces default, k8s.io``; at most five, the rest is counted."""
    names = ", ".join(visible(name, 80) for name in namespaces[:_MAX_NAMESPACES])
    more = len(namespaces) - _MAX_NAMESPACES
    rest = f" and {more} more" if more > 0 else ""
    return f"namespace{'' if len(namespaces) == 1 else 's'} {names}{rest}"


def rfc3339(time_ns: int) -> str | None:
    """A time in UTC with nanoseconds, for machines; None when unknown."""
    if time_ns <= 0:
        return None
    seconds, fraction = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}Z"


def local_time(time_ns: int) -> str:
    """A time in this machine's zone, to the second, for people; ``unknown`` without one."""
    if time_ns <= 0:
        return "unknown"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 10**9))


def parse_duration(text: str) -> float:
    """Seconds in ``10m``, ``1h30m``, ``500ms`` or a bare number of seconds.

    Raises:
        InvalidArgument: anything else.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(
            f"{text!r} is not a length of time", advice="write it as 30s, 10m, 2h"
        )
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
