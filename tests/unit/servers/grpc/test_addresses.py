"""Addresses as people type them, and files of certificates that are none."""

from __future__ import annotations

import pytest

from contentui.content.errors import FailedPrecondition, InvalidArgument
from contentui.servers.grpc.address import TcpAddress, UnixAddress, parse_address
from contentui.servers.grpc.tls import TlsFiles, server_credentials


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
        ("unix:///run/../run//x", UnixAddress("/run/x")),
        ("unix:///" + "x" * 106, UnixAddress("/" + "x" * 106)),
        ("tcp://127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("tcp://[::1]:65535", TcpAddress("::1", 65535)),
        ("tcp://node.example:7350", TcpAddress("node.example", 7350)),
    ],
)
def test_addresses(text, address):
    found = parse_address(text)
    assert found == address
    assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "/run/x", "unix://", "unix://x", "unix:///" + "x" * 107, "unix:///" + "ä" * 54,
     "unix:///a?b", "unix:///a\0b", "http://x:1", "tcp://", "tcp://x", "tcp://x:", "tcp://:1",
     "tcp://x:65536", "tcp://x:-1", "tcp://x:999999", "tcp://::1:80", "tcp://x:\u0661",
     "tcp://x\n:1", "tcp://[]:1"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(InvalidArgument) as error:
        parse_address(text)
    assert error.value.advice
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("node", False),
        ("127.0.0.1.example", False),
        ("localhost.example", False),
    ],
)
def test_who_can_be_reached_from_elsewhere(host, loopback):
    assert TcpAddress(host, 1).is_loopback == loopback


def test_files_that_are_no_certificates(tmp_path):
    nonsense = tmp_path / "x.pem"
    nonsense.write_text("nonsense")
    huge = tmp_path / "huge.pem"
    huge.write_bytes(b"x" * (1 << 21))
    with pytest.raises(InvalidArgument, match="are not a certificate and its private key"):
        server_credentials(TlsFiles(*[str(nonsense)] * 3))
    with pytest.raises(InvalidArgument, match="not a PEM file"):
        server_credentials(TlsFiles(*[str(huge)] * 3))
    with pytest.raises(FailedPrecondition, match="No such file"):
        server_credentials(TlsFiles(*[str(tmp_path / "none")] * 3))
    with pytest.raises(FailedPrecondition, match="directory"):
        server_credentials(TlsFiles(*[str(tmp_path)] * 3))
