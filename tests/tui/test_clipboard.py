import base64

import pytest

from contentui.content.errors import InvalidArgument
from contentui.tui.clipboard import MAX_BYTES, osc52


def test_plain_terminal():
    sequence = osc52("sha256:é\udcff", {})
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\a")
    assert base64.b64decode(sequence[7:-1]) == "sha256:é".encode() + b"\xff"


def test_tmux_gets_it_wrapped_with_doubled_escapes():
    sequence = osc52("x", {"TMUX": "/tmp/tmux-0/default,1,0"})
    wrapped, bare = sequence.split("\x1b\\")
    assert wrapped == "\x1bPtmux;\x1b\x1b]52;c;eA==\a"
    assert bare == osc52("x", {})


def test_too_much_is_refused_and_not_cut():
    assert len(base64.b64decode(osc52("x" * MAX_BYTES, {})[7:-1])) == MAX_BYTES
    with pytest.raises(InvalidArgument, match="74,995 bytes"):
        osc52("x" * (MAX_BYTES + 1), {})
    with pytest.raises(InvalidArgument):
        osc52("é" * (MAX_BYTES // 2 + 1), {})  # bytes count, not characters
