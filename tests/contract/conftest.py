"""Every kind of store, each fresh, for the one suite that all must pass."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from differences import DIFFERENCES, SKIPPED

from bench.peers import Containerd, Missing
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contentui.content.store import Store


class Opener(Protocol):
    """Opens the test's one store; again, it is another view of the same content."""

    def __call__(self) -> Store: ...


class Isolated(Containerd):
    """A containerd whose namespaces don't share content, so that each is as good as new."""

    def _config(self) -> str:
        bolt = '[plugins."io.containerd.metadata.v1.bolt"]\n  content_sharing_policy = "isolated"\n'
        return super()._config() + bolt


def _short(stack: ExitStack) -> Path:
    """A directory whose path is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="cui-"))
    stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path


def _memory(_: pytest.FixtureRequest, __: Path, ___: ExitStack) -> Opener:
    store = MemoryStore()
    return lambda: store


def _root(path: Path) -> Path:
    root = path / "content"
    root.mkdir()
    return root


def _local(_: pytest.FixtureRequest, path: Path, __: ExitStack) -> Opener:
    root = _root(path)
    return lambda: LocalStore(str(root))


def _grpc(_: pytest.FixtureRequest, path: Path, stack: ExitStack) -> Opener:
    """Our client on our service on a directory."""
    from contentui.servers.grpc.auxiliary import AuxiliaryServices
    from contentui.servers.grpc.identity import identify
    from contentui.servers.grpc.server import Server
    from contentui.stores.containerd.store import ContainerdStore

    root, socket = _root(path), str(_short(stack) / "s")
    store = LocalStore(str(root))
    stack.callback(store.close)
    service = Server(store, auxiliary=AuxiliaryServices(store, identify(str(root))))
    service.listen_unix(socket)
    service.start()
    stack.callback(service.stop, 0)
    return lambda: ContainerdStore(socket)


_TURN = count()


def _containerd(request: pytest.FixtureRequest, _: Path, __: ExitStack) -> Opener:
    """Our client on a real containerd, in a namespace of the test's own."""
    from contentui.stores.containerd.store import ContainerdStore

    daemon: Containerd = request.getfixturevalue("isolated_containerd")
    namespaces = [f"test-{next(_TURN)}"]
    socket = str(daemon.socket)
    return lambda: ContainerdStore(socket, namespaces=namespaces, roots_new=False)


@pytest.fixture(scope="session")
def isolated_containerd() -> Iterator[Containerd]:
    """One daemon for all tests; it collects nothing while they run."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(Isolated(_short(stack) / "c", collect=False))
        except Missing as missing:
            _unavailable(str(missing))


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CONTENTUI_REQUIRE_INTEROP") == "1":
        pytest.fail(f"required, but missing: {reason}")
    pytest.skip(reason)


KINDS: dict[str, Callable[[pytest.FixtureRequest, Path, ExitStack], Opener]] = {
    "memory": _memory,
    "local": _local,
    "grpc": _grpc,
    "containerd": _containerd,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say where the real semantics are others, with the reason; such a test must really fail."""
    for item in items:
        kind = getattr(getattr(item, "callspec", None), "params", {}).get("open_again")
        if kind == "containerd":
            item.add_marker(pytest.mark.interop)
        name = getattr(item, "originalname", item.name)
        for each in ((kind, name), (kind, item.name)):
            if reason := DIFFERENCES.get(each):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
            if reason := SKIPPED.get(each):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=sorted(KINDS))
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Open a view of this test's content; all views are closed at the end."""
    with ExitStack() as stack:
        opener = KINDS[request.param](request, tmp_path, stack)

        def open_view() -> Store:
            view = opener()
            stack.callback(view.close)
            return view

        yield open_view


@pytest.fixture
def holders_pid(request: pytest.FixtureRequest, open_again: Opener) -> int:
    """The process as which a writer of this test is seen, or the daemon that serves it."""
    if request.node.callspec.params["open_again"] != "containerd":
        return os.getpid()
    daemon: Containerd = request.getfixturevalue("isolated_containerd")
    assert daemon.process
    return daemon.process.pid


@pytest.fixture
def store(open_again: Opener) -> Store:
    """A new, empty store."""
    return open_again()
