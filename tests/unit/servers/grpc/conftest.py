"""Stores and servers for the tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from contentui.servers.grpc.auxiliary import AuxiliaryServices
from contentui.servers.grpc.identity import Identity
from contentui.stores.local.store import LocalStore
from contentui.stores.memory import MemoryStore
from tests.unit.servers.grpc.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contentui.content.store import Store
    from tests.unit.servers.grpc.served import Serving


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = MemoryStore() if request.param == "memory" else LocalStore(str(tmp_path))
    yield store
    store.close()


@pytest.fixture
def serving(store: Store) -> Iterator[Serving]:
    with served(store) as serving:
        yield serving


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def identity() -> Identity:
    return Identity("0d1c8a52-0000-4000-8000-000000000001", 42, 4026531836, "/srv/content")


@pytest.fixture
def auxiliary(memory: MemoryStore, identity: Identity) -> AuxiliaryServices:
    return AuxiliaryServices(memory, identity)


@pytest.fixture
def channel(auxiliary: AuxiliaryServices) -> Iterator[grpc.Channel]:
    """A client's end of a server with nothing but ``auxiliary``."""
    place = Path(tempfile.mkdtemp(prefix="cui-"))
    server = grpc.server(ThreadPoolExecutor(16), handlers=auxiliary.handlers)
    server.add_insecure_port(f"unix:{place}/s")
    server.start()
    with grpc.insecure_channel(f"unix:{place}/s") as channel:
        yield channel
    server.stop(0).wait()
    shutil.rmtree(place)
