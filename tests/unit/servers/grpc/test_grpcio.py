"""Reading with a grpcio whose private parts are not as expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from contentui.protocol import content_pb2 as pb
from contentui.servers.grpc import grpcio
from contentui.stores.local.store import LocalStore
from tests.unit.servers.grpc.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@pytest.fixture(params=["as it is", "_send_response", "_status", "_Context"])
def changed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """One of the parts takes another argument, as after an update."""
    server: Any = pytest.importorskip("grpc._server")
    name = request.param
    if name == "_Context":
        monkeypatch.setitem(grpcio._EXPECTED, name, ("other",))
    elif name != "as it is":
        known = getattr(server, name)
        monkeypatch.setattr(
            server, name, lambda event, state, data, more=0: known(event, state, data)
        )
    grpcio.private_api.cache_clear()
    yield name != "as it is"
    grpcio.private_api.cache_clear()


def test_all_is_read_with_any_grpcio(changed: bool, tmp_path: Path) -> None:
    assert (grpcio.private_api() is None) == changed
    data = bytes(range(256)) * (3 * MIB // 256)
    with LocalStore(tmp_path / "store") as store, served(store) as serving:
        digest = store.put(data).digest
        empty = store.put(b"").digest

        def read(name: str, offset: int = 0, size: int = 0) -> bytes:
            request = pb.ReadContentRequest(digest=name, offset=offset, size=size)
            return b"".join(piece.data for piece in serving.client().stream("Read", request))

        assert read(digest) == data
        assert read(empty) == b""
        for start in range(0, 256 << 10, 32 << 10):
            assert read(digest, start, 32 << 10) == data[start : start + (32 << 10)]
