"""A daemon's errors as ours, and the parsing of socket URLs."""

from __future__ import annotations

import grp  # noqa: F401 - the user that the test becomes may not read the library
import os
import pwd  # noqa: F401
import shutil
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from contentui.content.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Locked,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.stores.containerd.errors import (
    MAX_TEXT,
    ConnectionLost,
    Unimplemented,
    from_rpc_error,
)
from contentui.stores.containerd.transport import socket_problem
from contentui.stores.open import open_store

Code = grpc.StatusCode


@pytest.fixture
def short_tmp():
    path = Path(tempfile.mkdtemp(prefix="cui-"))
    yield path
    shutil.rmtree(path)


def refusal(code, text):
    return from_rpc_error(SimpleNamespace(code=lambda: code, details=lambda: text), "gone", "do")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (Code.NOT_FOUND, "content sha256:0: not found", NotFound),
        (Code.ALREADY_EXISTS, "x: already exists", AlreadyExists),
        (
            Code.FAILED_PRECONDITION,
            "namespace is required: failed precondition",
            FailedPrecondition,
        ),
        (Code.UNAVAILABLE, "failed to connect to all addresses", ConnectionLost),
        (Code.UNAVAILABLE, "", ConnectionLost),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", ConnectionLost),
        (Code.UNIMPLEMENTED, "unknown service a.B", Unimplemented),
        (Code.UNKNOWN, "write /x: no space left on device", ResourceExhausted),
        (Code.UNKNOWN, "key too large", InvalidArgument),
        (Code.INTERNAL, "", FailedPrecondition),
    ],
)
def test_each_code_has_an_error(code, text, kind):
    found = refusal(code, text)
    assert type(found) is kind
    assert found.message


@pytest.mark.parametrize(
    ("since", "ns"),
    [
        ("2026-11-21 01:58:55.1 +0000 UTC m=+336.8", 1795226335_100_000_000),
        ("2026-11-21 01:58:55 +0000 UTC", 1795226335_000_000_000),
        ("2026-11-21 02:58:55.000000001 +0100 CET m=+1", 1795226335_000_000_001),
        ("2026-11-20 20:28:55 -0530 XYZ", 1795226335_000_000_000),
        ("0001-01-01 00:00:00 +0000 UTC", 0),
        ("2026-13-45 99:99:99 +9999 UTC", 0),
        ("once upon a time", 0),
    ],
)
def test_a_locked_ref_is_not_a_lost_connection(since, ns):
    text = f"ref default/1/a b\nc locked for 315.79ms (since {since}): unavailable"
    found = refusal(Code.UNAVAILABLE, text)
    assert isinstance(found, Locked)
    assert not isinstance(found, Unavailable)
    assert (found.holder.since_ns, found.holder.pid) == (ns, 0)
    assert "315.79ms" in found.message


def test_a_socket_without_a_server():
    text = "failed to connect to all addresses; last error: X: unix:/s: Connection refused"
    assert refusal(Code.UNAVAILABLE, text).message == (
        "gone: nothing listens there (connection refused)"
    )


def test_a_locked_ref_of_unknown_age():
    found = refusal(Code.UNAVAILABLE, "ref r locked for an unknown time: unavailable")
    assert isinstance(found, Locked)
    assert found.holder.since_ns == 0


def test_a_long_message_is_cut_and_a_long_ref_is_still_locked():
    assert len(refusal(Code.INTERNAL, "x" * 10**6).message) <= MAX_TEXT + 1
    text = f"ref {'x' * 64_000} locked for 2s (since 2026-11-21 01:58:55 +0000 UTC): unavailable"
    assert isinstance(refusal(Code.UNAVAILABLE, text), Locked)


@pytest.mark.parametrize("name", ["a/b", "é", "x" * 77, ".."])
def test_what_is_no_namespace_is_refused(tmp_path, name):
    with pytest.raises(InvalidArgument, match="not a valid namespace"):
        open_store(f"unix://{tmp_path}/s?namespace={name}")


def test_a_socket_that_is_not_there(tmp_path):
    with pytest.raises(Unavailable, match="there is no socket at") as caught:
        open_store(f"unix://{tmp_path}/s")
    assert "start the daemon" in caught.value.advice


def test_a_file_that_is_no_socket(tmp_path):
    (tmp_path / "s").write_bytes(b"")
    with pytest.raises(NotFound, match="is not a socket"):
        open_store(f"unix://{tmp_path}/s")


def test_a_socket_without_a_listener(short_tmp):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(short_tmp / "s"))
    with pytest.raises(Unavailable, match="no answer on") as caught:
        open_store(str(short_tmp / "s"))
    assert "check that the daemon runs" in caught.value.advice


def test_a_socket_without_access_is_reported_with_owner_and_mode(short_tmp):
    path = str(short_tmp / "s")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
    os.chmod(short_tmp, 0o755)
    os.chmod(path, 0)
    me = os.geteuid()
    os.seteuid(me or 65534)  # root may do everything
    try:
        problem = socket_problem(path)
    finally:
        os.seteuid(me)
    assert isinstance(problem, PermissionDenied)
    assert f"{path} (s---------" in problem.message
    assert "you are" in problem.message
    assert problem.advice
