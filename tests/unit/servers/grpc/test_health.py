"""Health and reflection: their responses, and how many streams may be open."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from contentui.protocol.names import CONTENT
from contentui.servers.grpc.auxiliary import SERVICES
from contentui.servers.grpc.health import MAX_REFLECTIONS, MAX_WATCHES

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def request(name: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


@pytest.fixture
def health(channel):
    return health_pb2_grpc.HealthStub(channel)


def test_every_service_is_healthy(health):
    for name in ("", *SERVICES):
        assert health.Check(request(name), timeout=5).status == SERVING
    with pytest.raises(grpc.RpcError) as error:
        health.Check(request("other"), timeout=5)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_draining_is_reported_and_ends_waiting_streams(auxiliary, health, channel):
    watch = health.Watch(request(CONTENT), timeout=10)
    assert next(watch).status == SERVING
    reflection = ServerReflectionStub(channel).ServerReflectionInfo(_asking(), timeout=10)
    next(reflection)
    auxiliary.drain()
    assert [answer.status for answer in watch] == [NOT_SERVING]
    with pytest.raises(grpc.RpcError) as error:
        next(reflection)
    assert error.value.code() == grpc.StatusCode.CANCELLED
    assert health.Check(request(), timeout=5).status == NOT_SERVING


def test_only_so_many_may_watch(health):
    watches = [health.Watch(request(f"name {number}"), timeout=30) for number in range(MAX_WATCHES)]
    assert {next(watch).status for watch in watches} == {UNKNOWN}
    with pytest.raises(grpc.RpcError) as error:
        next(health.Watch(request(), timeout=5))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()
    _eventually(lambda: next(health.Watch(request(), timeout=5)).status == SERVING)


def test_names_that_are_asked_for_are_not_remembered(auxiliary, health):
    for number in range(20):
        watch = health.Watch(request(f"name {number}"), timeout=5)
        assert next(watch).status == UNKNOWN
        watch.cancel()
    assert len(auxiliary._health_and_reflection._health._send_response_callbacks) <= 2


def test_reflection_lists_all_services_and_their_methods(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(SERVICES) <= set(database.get_services())
    file = database.FindFileContainingSymbol(CONTENT)
    methods = [method.name for service in file.service for method in service.method]
    assert {"Info", "Write", "Abort"} <= set(methods)


def test_only_so_many_streams_of_reflection(channel, health):
    stub = ServerReflectionStub(channel)
    streams = [stub.ServerReflectionInfo(_asking(), timeout=30) for _ in range(MAX_REFLECTIONS)]
    for stream in streams:
        next(stream)
    with pytest.raises(grpc.RpcError) as error:
        next(stub.ServerReflectionInfo(_asking(), timeout=5))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert health.Check(request(), timeout=5).status == SERVING
    for stream in streams:
        stream.cancel()
    _eventually(lambda: next(stub.ServerReflectionInfo(_asking(), timeout=5)))


def _asking():
    """A question, and then silence until the call ends."""
    import queue

    questions = queue.SimpleQueue()
    questions.put(ServerReflectionRequest(list_services=""))
    return iter(questions.get, None)


def _eventually(act):
    """Try until a cancelled stream has left its place."""
    import time

    deadline = time.monotonic() + 10
    while True:
        try:
            assert act()
        except grpc.RpcError:
            assert time.monotonic() < deadline
        else:
            return
