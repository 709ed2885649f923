"""``contentui serve``: who gets in, what it tells, how it ends, and what it leaves behind."""

from __future__ import annotations

import grp
import json
import os
import queue
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from contentui.content.digest import Digest
from contentui.protocol import content_pb2 as messages
from contentui.protocol.names import CONTENT, method
from contentui.stores.local.ownership import bound_to
from contentui.stores.local.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Program

LIMIT_S = 20
DIGEST = str(Digest.of(b"123"))


class Served:
    """A running service, from its start to its end."""

    def __init__(self, program: Program, *words: str, **env: str) -> None:
        program.env.update(env)
        self.process = program.start("serve", "--json", *words)
        self.ready: dict[str, Any] = {}
        self.said = b""

    def __enter__(self) -> Served:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.end())
        self.ready = json.loads(line)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    @property
    def target(self) -> str:
        return self.ready["listen"][0].replace("unix://", "unix:").replace("tcp://", "")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; what it said is in ``said`` then."""
        _, self.said = self.process.communicate(timeout=LIMIT_S)
        assert b"Traceback" not in self.said
        return self.process.returncode


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="cui-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def at(place) -> str:
    return f"unix://{place}/s"


class Stream:
    """A Write stream whose requests are sent one by one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call = channel.stream_stream(method(CONTENT, "Write"))
        self.answers = call(iter(self._requests.get, None), timeout=LIMIT_S)

    def send(self, **fields: Any) -> messages.WriteContentResponse:
        self._requests.put(messages.WriteContentRequest(**fields).SerializeToString())
        return messages.WriteContentResponse.FromString(next(self.answers))

    def close(self) -> None:
        self._requests.put(None)


def ask(channel: grpc.Channel, name: str, request: Any) -> bytes:
    return channel.unary_unary(method(CONTENT, name))(request.SerializeToString(), timeout=LIMIT_S)


def store_in(channel: grpc.Channel, data: bytes, ref: str = "x") -> None:
    stream = Stream(channel)
    stream.send(action=messages.COMMIT, ref=ref, data=data)
    stream.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_serves_until_it_is_told_to_end(program, place, at):
    with Served(program, "--listen", at) as served:
        assert served.ready["listen"] == [at]
        assert served.ready["store"] == str(program.root)
        assert (served.ready["pid"], served.ready["ready"]) == (served.process.pid, True)
        assert (served.ready["read_only"], served.ready["for_containerd"]) == (False, None)
        assert mode_of(place / "s") == 0o600
        with grpc.insecure_channel(served.target) as channel:
            store_in(channel, b"123")
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
        served.signal()
        assert served.end() == 0
    assert os.listdir(place) == []
    first, second = served.said.decode().splitlines()
    assert first.startswith(f"serving {program.root} at {at}, pid {served.process.pid}; namespaces")
    assert second.startswith("draining")
    assert program.ok("list", "-q") == f"{DIGEST}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_end_it_as_well(program, place, at, number):
    with Served(program, "--listen", at) as served:
        served.signal(number)
        assert served.end() == 0
    assert os.listdir(place) == []


def test_the_uuid_stays(program, at):
    found = set()
    for _ in range(2):
        with Served(program, "--listen", at) as served:
            found.add(served.ready["uuid"])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("words", "mode"),
    [(["--mode", "0666"], 0o666), (["--group", "daemon"], 0o660),
     (["--group", "daemon", "--mode", "640"], 0o640)],
)  # fmt: skip
def test_who_may_use_the_socket(program, place, at, words, mode):
    with Served(program, "--listen", at, *words):
        assert mode_of(place / "s") == mode
        if "--group" in words:
            assert (place / "s").stat().st_gid == grp.getgrnam("daemon").gr_gid


def test_several_addresses(program, place, at):
    more = ["--listen", f"unix://{place}/t", "--listen", "tcp://127.0.0.1:0", "--insecure"]
    with Served(program, "--listen", at, *more) as served:
        assert served.ready["listen"][:2] == [at, f"unix://{place}/t"]
        port = int(served.ready["listen"][2].rpartition(":")[2])
        for target in (f"unix:{place}/s", f"unix:{place}/t", f"127.0.0.1:{port}"):
            with grpc.insecure_channel(target) as channel:
                ask(channel, "ListStatuses", messages.ListStatusesRequest())


def test_the_refusal_names_a_socket_rather_than_a_port(program, place, at):
    store = str(place / "store")
    port = ["--listen", "tcp://127.0.0.1:0", "--insecure"]
    with Served(program, "--store", store, *port, "--listen", at):
        assert f"--store {at}" in program("--store", store, "ingest", "x", stdin=b"x").err


def test_the_socket_of_a_dead_server_is_replaced_a_live_one_s_is_not(program, place, at):
    with Served(program, "--listen", at) as served:
        other = program("--store", str(place / "other"), "serve", "--listen", at)
        assert (other.code, other.out) == (1, "")
        assert f"another server listens at {place}/s" in other.err
        with grpc.insecure_channel(served.target) as channel:
            store_in(channel, b"123")
        served.process.kill()
        served.process.wait()
    assert (place / "s").is_socket()
    with Served(program, "--listen", at) as served:
        assert served.ready["listen"] == [at]


def test_what_is_no_socket_stays(program, place, at):
    (place / "s").write_text("mine")
    ran = program("serve", "--listen", at)
    assert ran.code == 1
    assert "is not a socket" in ran.err
    assert (place / "s").read_text() == "mine"


def test_a_missing_folder_is_said_in_words(program, place):
    ran = program("serve", "--listen", f"unix://{place}/none/s")
    assert ran.code == 5
    assert f"{place}/none/s" in ran.err


def test_while_it_runs_the_directory_is_its_own(program, place, at):
    digest = program.ok("ingest", "name", stdin=b"before").strip()
    with Served(program, "--listen", at):
        for words in (["ingest", "x"], ["delete", digest], ["label", digest, "a=b"]):
            ran = program(*words, stdin=b"1")
            assert ran.code == 1
            assert f"--store {at}" in ran.err
        assert program.ok("list", "-q") == f"{digest}\n"
        second = program("serve", "--listen", f"unix://{place}/t")
        assert second.code == 1
        assert f"another contentui service has {program.root.name}: {at}" in second.err
    program.ok("delete", digest)


def test_draining_lets_a_writer_finish(program, place, at):
    with Served(program, "--listen", at) as served, grpc.insecure_channel(served.target) as channel:
        stream = Stream(channel)
        stream.send(action=messages.WRITE, ref="slow", data=b"12")
        served.signal()
        _until_gone(place / "s")
        answer = stream.send(action=messages.COMMIT, offset=2, data=b"3")
        assert answer.digest == DIGEST
        stream.close()
        assert served.end() == 0
    assert program.ok("list", "-q") == f"{DIGEST}\n"


def test_the_rest_is_cut_off_and_kept_for_resumption(program, at):
    with (
        Served(program, "--listen", at, "--grace", "300ms") as served,
        grpc.insecure_channel(served.target) as channel,
    ):
        stream = Stream(channel)
        stream.send(action=messages.WRITE, ref="slow", data=b"12")
        served.signal()
        assert served.end() == 0
        with pytest.raises(grpc.RpcError):
            next(stream.answers)
    (line,) = program.ok("active", "--json").splitlines()
    found = json.loads(line)
    assert (found["ref"], found["offset_bytes"], found["held"]) == ("slow", 2, False)
    assert program.ok("list", "-q") == ""


def test_a_second_signal_ends_it_at_once(program, place, at):
    with (
        Served(program, "--listen", at, "--grace", "60s") as served,
        grpc.insecure_channel(served.target) as channel,
    ):
        stream = Stream(channel)
        stream.send(action=messages.WRITE, ref="slow", data=b"12")
        served.signal()
        _until_gone(place / "s")
        served.signal(signal.SIGINT)
        assert served.end() == 128 + signal.SIGINT
    assert os.listdir(place) == []
    assert json.loads(program.ok("active", "--json"))["held"] is False
    program.ok("abort", "slow")


def test_what_is_destroyed_is_told(program, at):
    with Served(program, "--listen", at) as served:
        with grpc.insecure_channel(served.target) as channel:
            store_in(channel, b"123")
            stream = Stream(channel)
            stream.send(action=messages.WRITE, ref="bad\x1b[2J\nname", data=b"12")
            stream.send(action=messages.WRITE, data=b"")
            stream.close()
            ask(channel, "Abort", messages.AbortRequest(ref="bad\x1b[2J\nname"))
            ask(channel, "Delete", messages.DeleteContentRequest(digest=DIGEST))
        served.signal()
        assert served.end() == 0
    told = served.said.decode().splitlines()[1:-1]
    assert [line.partition("Z ")[2] for line in told] == [
        "truncated ingest bad\\x1b[2J\\nname: 2 B dropped",
        "aborted ingest bad\\x1b[2J\\nname",
        f"deleted blob {DIGEST}",
    ]


def test_nobody_waits_for_whoever_should_read_the_log(program, at):
    with (
        Served(program, "--listen", at) as served,
        grpc.insecure_channel(served.target) as channel,
    ):
        stream = Stream(channel)
        for _ in range(500):  # lines of some 400 bytes into a pipe that takes 64 KiB
            stream.send(action=messages.WRITE, ref="x" * 400, data=b"1")
            stream.send(action=messages.WRITE, data=b"")
        store_in(channel, b"123", "other")
        assert served.process.stderr
        assert b"truncated ingest" in os.read(served.process.stderr.fileno(), 1 << 20)
        stream.send(action=messages.WRITE, data=b"1")
        stream.send(action=messages.WRITE, data=b"")
        stream.close()
        served.signal()
        assert served.end() == 0
    assert b" lines were dropped, unread in time) 2" in served.said


def test_quiet_says_nothing(program, place, at):
    process = program.start("serve", "-q", "--listen", at)
    _until(lambda: (place / "s").exists())
    with grpc.insecure_channel(f"unix:{place}/s") as channel:
        store_in(channel, b"123")
        ask(channel, "Delete", messages.DeleteContentRequest(digest=DIGEST))
    process.terminate()
    assert process.communicate(timeout=LIMIT_S) == (b"", b"")
    assert process.returncode == 0


def test_read_only_changes_nothing_and_takes_nothing(program, place, at):
    digest = program.ok("ingest", "name", stdin=b"123").strip()
    before = sorted(os.listdir(program.root / ".contentui"))
    with (
        Served(program, "--read-only", "--listen", at) as served,
        Served(program, "--read-only", "--listen", f"unix://{place}/t") as other,
    ):
        assert served.ready["read_only"] is True
        assert served.ready["uuid"] == other.ready["uuid"]
        with grpc.insecure_channel(served.target) as channel:
            request = messages.DeleteContentRequest(digest=digest)
            with pytest.raises(grpc.RpcError) as error:
                ask(channel, "Delete", request)
            assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert "--read-only" in error.value.details()
        assert sorted(os.listdir(program.root / ".contentui")) == before
        program.ok("delete", digest)


def test_a_directory_for_a_containerd(program, place, at):
    daemon = place / "containerd"
    words = ["--listen", at, "--for-containerd", str(daemon)]
    with Served(program, *words) as served:
        assert served.ready["for_containerd"] == str(daemon)
    assert bound_to(str(program.root)) == str(daemon)
    with Served(program, *words):  # again, for the same one
        pass
    ran = program("serve", "--listen", at)
    assert ran.code == 1
    assert f"--for-containerd {daemon}" in ran.err
    ran = program("serve", "--listen", at, "--for-containerd", str(place / "other"))
    assert ran.code == 1
    assert "deletes every blob that it doesn't know" in ran.err


def test_a_directory_with_content_is_not_for_a_containerd(program, place, at):
    program.ok("ingest", "name", stdin=b"123")
    ran = program("serve", "--listen", at, "--for-containerd", str(place))
    assert ran.code == 1
    assert "deletes every blob that it doesn't know" in ran.err
    assert not (place / "s").exists()


def test_a_directory_that_is_no_store_stays_as_it_is(program, at):
    program.root.mkdir()
    (program.root / "letter.txt").write_text("dear")
    ran = program("serve", "--listen", at)
    assert ran.code == 5
    assert os.listdir(program.root) == ["letter.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--listen is missing"),
        (["--listen", "/run/s"], "not an address to listen at"),
        (["--listen", "unix://s"], "not absolute"),
        (["--listen", "tcp://127.0.0.1:0"], "every user of this machine"),
        (["--listen", "tcp://0.0.0.0:0", "--insecure"], "allowed on loopback addresses only"),
        (["--listen", "tcp://node:0", "--insecure"], "allowed on loopback addresses only"),
        (["--listen", "unix:///x", "--insecure"], "need a tcp:// address"),
        (["--listen", "tcp://[::]:0", "--tls-cert", "x"], "--tls-key and --tls-client-ca"),
        (["--listen", "unix:///x", "--mode", "9"], "is not a file mode"),
        (["--listen", "unix:///x", "--mode", "10777"], "is not a file mode"),
        (["--listen", "unix:///tmp/x", "--group", "nobody\x1b"], "no group"),
        (["--listen", "unix:///x", "--grace", "soon"], "length of time"),
        (["--listen", "unix:///x", "--read-only", "--for-containerd", "y"], "can write to"),
        (["--listen", "unix:///x", "--store", "unix:///y"], "only a directory can be served"),
    ],
)
def test_what_makes_no_sense(program, words, said):
    ran = program("serve", *words)
    assert ran.code == 2, ran
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_a_service_manager_is_told(program, place, at):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{place}/notify")
        manager.settimeout(LIMIT_S)
        with Served(program, "--listen", at, NOTIFY_SOCKET=f"{place}/notify") as served:
            assert manager.recv(100) == b"READY=1"
            with grpc.insecure_channel(served.target) as channel:
                ask(channel, "ListStatuses", messages.ListStatusesRequest())
            served.signal()
            assert manager.recv(100) == b"STOPPING=1"
            assert served.end() == 0


def test_one_that_nobody_listens_for_does_no_harm(program, at):
    with Served(program, "--listen", at, NOTIFY_SOCKET="@contentui-nobody") as served:
        served.signal()
        assert served.end() == 0


@pytest.fixture
def certificates(place) -> Path:
    """Keys and certificates of an authority, a server, its client, and a stranger's client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = place / "tls"
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name in ("ca", "stranger"):
        subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", *curve, *subject)
    for name in ("server", "client"):
        subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        by = ["-CA", "ca.pem", "-CAkey", "ca.key"]
        openssl("req", "-x509", *curve, *subject, *names, *by)
    return folder


def test_tls_lets_in_only_those_with_a_certificate(program, certificates):
    def read(name: str) -> bytes:
        return (certificates / name).read_bytes()

    def asks(*key_and_certificate: bytes) -> None:
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), *key_and_certificate)
        with grpc.secure_channel(served.target, credentials) as channel:
            ask(channel, "ListStatuses", messages.ListStatusesRequest())

    words = ["--tls-cert", f"{certificates}/server.pem", "--tls-key", f"{certificates}/server.key"]
    words += ["--tls-client-ca", f"{certificates}/ca.pem"]
    with Served(program, "--listen", "tcp://127.0.0.1:0", *words) as served:
        asks(read("client.key"), read("client.pem"))
        for pair in ((), (read("stranger.key"), read("stranger.pem"))):
            with pytest.raises(grpc.RpcError) as error:
                asks(*pair)
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(served.target) as channel, pytest.raises(grpc.RpcError):
            ask(channel, "ListStatuses", messages.ListStatusesRequest())
        served.signal()
        assert served.end() == 0
    assert len(served.said.splitlines()) == 2  # strangers are no news


def test_a_wrong_key_is_said_before_anybody_connects(program, certificates):
    words = ["--tls-cert", f"{certificates}/server.pem", "--tls-key", f"{certificates}/client.key"]
    words += ["--tls-client-ca", f"{certificates}/ca.pem"]
    ran = program("serve", "--listen", "tcp://127.0.0.1:0", *words)
    assert ran.code == 2
    assert "are not a certificate and its private key" in ran.err


def test_the_store_that_it_serves_is_whole_afterwards(program, at):
    """Killed in the middle, as by an out-of-memory killer: nothing is left locked."""
    with Served(program, "--listen", at) as served, grpc.insecure_channel(served.target) as channel:
        Stream(channel).send(action=messages.WRITE, ref="slow", data=b"12")
        served.process.kill()
        served.process.wait()
    with LocalStore(str(program.root)) as store, store.writer("slow") as writer:
        assert writer.offset == 2
        writer.write(b"3")
        assert str(writer.commit().digest) == DIGEST


def _until_gone(path: Path) -> None:
    _until(lambda: not path.exists())


def _until(condition) -> None:
    import time

    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
