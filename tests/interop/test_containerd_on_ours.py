"""A real containerd whose content plugin is our server: all its content is in our directory."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from acting import abort_plan, force, found
from interop_live import MIB, await_true, unavailable
from on_ours import OnOurs
from registries import DockerRegistry, all_blobs, archive_of, archived_blobs

from bench.peers import Missing
from contentui.content.digest import Digest
from contentui.content.errors import FailedPrecondition
from contentui.content.model import split_backend_ref
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.monitor.monitor import Monitor
from contentui.monitor.states import IngestState
from contentui.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "localhost/made:1"
IMAGE = make_unpackable(1, [300_000, 2 * MIB])


@pytest.fixture(scope="module")
def place(short_tmp: Path) -> Path:
    return short_tmp / "on"


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[OnOurs]:
    daemon = OnOurs(place)
    try:
        with daemon:
            yield daemon
    except Missing as missing:
        daemon.service.stop()
        unavailable(str(missing))


@pytest.fixture
def ours(running: OnOurs) -> Iterator[OnOurs]:
    """The daemon, with nothing in it at the beginning and at the end."""
    yield running
    for name in running.output("images", "ls", "-q").decode().split():
        running.output("images", "rm", "--sync", name)
    assert running.stamps() == {}


@pytest.fixture
def imported(ours: OnOurs) -> OnOurs:
    ours.output("images", "import", "--snapshotter", "native", "-", given=archive_of(IMAGE, NAME))
    return ours


def test_its_content_plugin_is_our_service(ours: OnOurs) -> None:
    listed = ours.output("plugins", "ls").decode().splitlines()
    (plugin,) = [line.split() for line in listed if line.startswith("io.containerd.content.v1 ")]
    assert (plugin[1], plugin[-1]) == ("contentui", "ok")


def test_it_imports_with_all_bytes_in_our_directory(imported: OnOurs) -> None:
    stored = imported.blobs()
    assert all_blobs(IMAGE).items() <= stored.items()
    assert all(f"sha256:{hashlib.sha256(data).hexdigest()}" == key for key, data in stored.items())
    assert not imported.has_own_content()
    checked = imported.output("images", "check").decode()
    parts = len(IMAGE.layers) + 1  # its config too
    assert f"complete ({parts}/{parts})" in checked


def test_it_exports_the_very_same_bytes(imported: OnOurs, tmp_path: Path) -> None:
    imported.output("images", "export", "--all-platforms", str(tmp_path / "out"), NAME)
    exported = archived_blobs((tmp_path / "out").read_bytes())
    assert exported == all_blobs(IMAGE)


def test_it_unpacks_with_the_native_snapshotter(imported: OnOurs) -> None:
    listed = imported.output("snapshots", "--snapshotter", "native", "ls").decode()
    assert listed.count("Committed") == len(IMAGE.layers)
    unpacked = sorted((imported.root / "io.containerd.snapshotter.v1.native").rglob("layer-*/data"))
    top = {file.parent.name: file.stat().st_size for file in unpacked}
    assert top == {"layer-0": 300_000, "layer-1": 2 * MIB}


def test_it_collects_garbage_in_our_directory(imported: OnOurs) -> None:
    assert imported.stamps()
    imported.output("images", "rm", "--sync", NAME)
    assert imported.stamps() == {}
    assert imported.output("content", "ls", "-q") == b""


def test_what_an_image_shares_with_another_stays(imported: OnOurs) -> None:
    imported.output("images", "tag", NAME, "localhost/made:2")
    imported.output("images", "rm", "--sync", NAME)
    assert imported.stamps().keys() == all_blobs(IMAGE).keys()


def test_it_pulls_from_a_registry_and_pushes_back(ours: OnOurs, tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        name = registry.push("made/pulled", IMAGE)
        ours.output("images", "pull", "--plain-http", "--snapshotter", "native", name)
        assert all_blobs(IMAGE).items() <= ours.blobs().items()
        copy = f"{registry.host}/made/copy:latest"
        ours.output("images", "push", "--plain-http", copy, name)
        ours.output("images", "rm", "--sync", name)
        ours.output("images", "pull", "--plain-http", "--snapshotter", "native", copy)
        assert all_blobs(IMAGE).items() <= ours.blobs().items()


def test_a_second_namespace_shares_the_bytes(imported: OnOurs) -> None:
    def other(*arguments: str) -> bytes:
        argv = ["ctr", "-a", str(imported.socket), "-n", "other", *arguments]
        archive = archive_of(IMAGE, NAME)
        done = subprocess.run(argv, input=archive, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = {digest: imported.stamps()[digest] for digest in all_blobs(IMAGE)}
    other("images", "import", "--no-unpack", "-")
    try:
        assert before.items() <= imported.stamps().items()
        imported.output("images", "rm", "--sync", NAME)
        assert imported.stamps().keys() == all_blobs(IMAGE).keys()
    finally:
        other("images", "rm", "--sync", NAME)


def test_all_is_there_after_a_restart_of_the_daemon(imported: OnOurs) -> None:
    imported.stop()
    imported.start()
    assert b" complete (" in imported.output("images", "check")
    for digest, data in all_blobs(IMAGE).items():
        assert imported.output("content", "get", digest) == data


@pytest.mark.parametrize("end", [OnOurs.kill_service, OnOurs.drain_service])
def test_all_is_there_after_a_restart_of_the_service(
    imported: OnOurs, end: Callable[[OnOurs], None]
) -> None:
    end(imported)
    imported.service.start()
    digest = str(IMAGE.digest)
    await_true(lambda: _got(imported, digest) == IMAGE.manifest)
    assert b" complete (" in imported.output("images", "check")
    imported.output("images", "rm", "--sync", NAME)
    assert imported.stamps() == {}


def _got(daemon: OnOurs, digest: str) -> bytes:
    """A blob, or nothing while the daemon hasn't found the new service yet."""
    argv = daemon.ctr("content", "get", digest)
    return subprocess.run(argv, capture_output=True, check=False).stdout


def test_an_ingest_goes_on_after_the_service_was_killed(ours: OnOurs) -> None:
    whole = b"h" * (3 * MIB)
    client = ours.begin("half", whole[: 2 * MIB])
    ours.service.kill()
    client.kill()
    client.communicate()
    assert ours.offsets() == {"default/1/half": 2 * MIB}
    ours.service.start()
    await_true(lambda: b"half" in _active(ours))
    ours.output("content", "ingest", "half", given=whole)
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert ours.blobs() == {digest: whole}
    assert ours.offsets() == {}
    ours.output("content", "rm", digest)
    await_true(lambda: ours.stamps() == {})


def _active(daemon: OnOurs) -> bytes:
    argv = daemon.ctr("content", "active")
    return subprocess.run(argv, capture_output=True, check=False).stdout


def test_a_damaged_ingest_does_not_stop_its_collector(imported: OnOurs) -> None:
    damaged = imported.store / "ingest" / hashlib.sha256(b"default/1/bad").hexdigest()
    damaged.mkdir(parents=True)
    (damaged / "data").write_bytes(b"x")
    imported.output("images", "rm", "--sync", NAME)
    assert imported.stamps() == {}
    if damaged.exists():
        (damaged / "data").unlink()
        damaged.rmdir()


class Pull:
    """A pull of whose second layer 1 MiB is in our directory; `finish` continues it."""

    layer = Digest.of(IMAGE.layers[1])
    ref = f"layer-{layer}"

    def __init__(self, daemon: OnOurs, registry: Registry) -> None:
        self._link = registry.throttle
        self._link.stall_at[self.layer] = MIB + MIB // 2
        name = registry.add(IMAGE, "made/slow:latest")
        argv = daemon.ctr("images", "pull", "--plain-http", "--snapshotter", "native", name)
        self._argv = argv
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        await_true(lambda: daemon.offsets() == {f"default/1/{self.ref}": MIB})

    def finish(self) -> tuple[int, str]:
        """Let the rest come; the exit code and what it said."""
        self._link.stalled.clear()
        said = self.process.communicate()[1].decode()
        return self.process.returncode, said

    def again(self) -> None:
        done = subprocess.run(self._argv, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def pull(ours: OnOurs) -> Iterator[Pull]:
    with Registry(Throttle()) as registry:
        made = Pull(ours, registry)
        yield made
        registry.closed.set()
        if made.process.returncode is None:
            made.process.kill()
            made.process.communicate()
    for lease in ours.output("leases", "ls", "-q").decode().split():
        ours.output("leases", "rm", "--sync", lease)


@pytest.mark.parametrize("way", ["directory", "service", "daemon"])
def test_a_live_pull_is_seen_every_way(ours: OnOurs, pull: Pull, way: str) -> None:
    sources = {
        "directory": str(ours.store),
        "service": f"unix://{ours.service.socket}",
        "daemon": f"unix://{ours.socket}",
    }
    store = open_store(sources[way])
    try:
        (row,) = Monitor(store).tick().ingests
    finally:
        store.close()
    status = row.status
    named = (status.namespace, status.ref) if status.namespace else split_backend_ref(status.ref)
    assert named == ("default", pull.ref)
    assert (status.offset, status.total) == (MIB, len(IMAGE.layers[1]))
    assert (status.expected or Digest.found_in(status.ref)) == pull.layer
    assert row.state in {IngestState.MOVING, IngestState.QUIET, IngestState.UNKNOWN}
    code, said = pull.finish()
    assert code == 0, said
    assert ours.blobs()[pull.layer] == IMAGE.layers[1]


def test_a_live_pull_that_is_aborted_fails_and_the_next_succeeds(ours: OnOurs, pull: Pull) -> None:
    store = open_store(f"unix://{ours.socket}?namespace=default")
    force(store, abort_plan(store, found(store, pull.ref)))
    store.close()
    assert ours.offsets() == {}
    code, said = pull.finish()
    assert code != 0
    assert "failed commit on ref" in said
    assert pull.layer not in ours.stamps()
    pull.again()
    assert ours.blobs()[pull.layer] == IMAGE.layers[1]


@pytest.mark.parametrize("end", [OnOurs.kill_service, OnOurs.drain_service])
def test_a_live_pull_goes_on_after_a_restart_of_the_service(
    ours: OnOurs, pull: Pull, end: Callable[[OnOurs], None]
) -> None:
    end(ours)
    assert ours.offsets() == {f"default/1/{pull.ref}": MIB}
    ours.service.start()
    code, said = pull.finish()
    assert code != 0
    assert said
    assert ours.offsets() == {f"default/1/{pull.ref}": MIB}
    await_true(lambda: b"REF" in _active(ours))
    pull.again()
    assert ours.blobs()[pull.layer] == IMAGE.layers[1]


def test_truncating_behind_the_proxy_fails_with_the_reason(ours: OnOurs, pull: Pull) -> None:
    pull.process.kill()
    pull.process.communicate()
    store = open_store(f"unix://{ours.socket}?namespace=default")
    await_true(lambda: store.probe(pull.ref, if_match=found(store, pull.ref)).digest is not None)
    with pytest.raises(FailedPrecondition) as caught:
        store.truncate(pull.ref)
    assert "abort" in caught.value.advice
    assert found(store, pull.ref).offset == MIB
    store.close()
