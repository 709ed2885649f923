"""Which processes are connected to a socket, with real processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from other_user import as_nobody

from contentui.stores import socket_peers
from contentui.stores.socket_peers import SocketPeers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.holder import Process

SERVER = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("ready", flush=True)
connections = []
while True:
    connections.append(listening.accept()[0])
"""
CLIENT = """
import socket, sys
connections = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for connection in connections:
    connection.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(script: str, *words: str) -> Iterator[int]:
    """The pid of a process that has reached the line that prints ``ready``."""
    argv = [sys.executable, "-c", script, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout
        try:
            assert child.stdout.readline() == "ready\n"
            yield child.pid
        finally:
            child.kill()


def await_only(peers: SocketPeers) -> Process:
    """The only client; on a busy machine /proc may lag behind for a moment."""
    until_s = time.monotonic() + 10
    while not (found := peers.processes()) and time.monotonic() < until_s:
        time.sleep(0.1)
    [only] = found
    return only


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the files of every process")
def test_each_client_is_found_and_neither_the_server_nor_this_process(place: Path) -> None:
    path, other = str(place / "s"), str(place / "other")
    with running(SERVER, path) as server, running(SERVER, other), running(CLIENT, other):
        peers = SocketPeers(path, server)
        assert peers.processes() == ()
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(path)
            assert peers.processes() == ()
            with running(CLIENT, path) as first:
                found = await_only(peers)
                assert (found.pid, found.command) == (first, Path(sys.executable).name[:15])
                with running(CLIENT, path) as second:
                    assert {each.pid for each in peers.processes()} == {first, second}
                assert peers.processes() == (found,)
            assert peers.processes() == ()


def test_an_owner_that_was_not_found_is_looked_for_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(place / "s")
    with running(SERVER, path) as server, running(CLIENT, path) as client:
        peers = SocketPeers(path, server)
        with monkeypatch.context() as patch:
            patch.setattr(socket_peers, "_pids", list)
            assert peers.processes() == ()
        assert peers.processes() == ()  # not at once
        monkeypatch.setattr(socket_peers, "_AGAIN_S", 0.0)
        peers._again_s = 0.0
        assert [each.pid for each in peers.processes()] == [client]


def test_a_socket_that_is_gone_has_no_clients(place: Path) -> None:
    assert SocketPeers(str(place / "none"), 1).processes() == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_may_not_see_the_owner_of_one_connection_sees_none(place: Path) -> None:
    path = str(place / "s")
    place.chmod(0o755)
    with running(SERVER, path) as server, running(CLIENT, path) as client:
        peers = SocketPeers(path, server)
        assert [each.pid for each in peers.processes()] == [client]
        assert as_nobody(SocketPeers(path, server).processes) == "()"
