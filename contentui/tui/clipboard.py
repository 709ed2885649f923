"""The clipboard of the terminal, also through ssh and tmux: OSC 52."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 74_994
"""What fits into the 100,000 characters that common terminals take in one sequence."""

_ESC = "\x1b"


def osc52(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The sequence that puts ``text`` on the clipboard; write it to the terminal as it is.

    Inside tmux it comes twice: wrapped, for a tmux that passes it through to its terminal, and
    bare, for one that keeps the clipboard itself (``allow-passthrough``, ``set-clipboard``).

    Raises:
        InvalidArgument: more than `MAX_BYTES` bytes; terminals drop these without a word.
    """
    payload = text.encode("utf-8", "surrogateescape")
    if len(payload) > MAX_BYTES:
        raise InvalidArgument(
            f"{len(payload):,} bytes are too much for the terminal's clipboard,"
            f" which takes {MAX_BYTES:,}",
            advice="copy less at once",
        )
    sequence = f"{_ESC}]52;c;{base64.b64encode(payload).decode()}\a"
    if not (os.environ if environment is None else environment).get("TMUX"):
        return sequence
    return f"{_ESC}Ptmux;{sequence.replace(_ESC, _ESC * 2)}{_ESC}\\{sequence}"
