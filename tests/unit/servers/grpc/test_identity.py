"""Identity, version, plugins, namespaces, and unknown methods."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from contentui import __version__
from contentui.protocol import introspection_pb2, namespaces_pb2, version_pb2
from contentui.protocol.names import (
    CONTENT,
    CONTENT_PLUGIN,
    INTROSPECTION,
    NAMESPACES,
    VERSION,
    method,
)
from contentui.servers.grpc.identity import identify
from contentui.servers.grpc.introspection import introspection_service
from contentui.servers.grpc.unary import service


@pytest.fixture
def call(channel):
    def call(name, method_name, request, answer=Empty):
        made = channel.unary_unary(method(name, method_name))
        return answer.FromString(made(request.SerializeToString(), timeout=5))

    return call


def refused(*args):
    call, *rest = args
    with pytest.raises(grpc.RpcError) as error:
        call(*rest)
    return error.value.code(), error.value.details()


def test_version(call):
    answer = call(VERSION, "Version", Empty(), version_pb2.VersionResponse)
    assert answer.version == f"contentui {__version__}"
    assert "namespaces are accepted and ignored" in answer.revision


def test_server(call, identity):
    answer = call(INTROSPECTION, "Server", Empty(), introspection_pb2.ServerResponse)
    assert (answer.uuid, answer.pid, answer.pidns) == identity[:3]
    assert not answer.deprecations


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ([], 1),
        ([""], 1),
        ([f"type=={CONTENT_PLUGIN}"], 1),
        ([f"type=={CONTENT_PLUGIN},id==contentui"], 1),
        (["type==other"], 0),
        (["type==other", "id"], 1),
        (["id~=^content"], 1),
        (["platforms"], 0),
    ],
)
def test_plugins(call, filters, count):
    request = introspection_pb2.PluginsRequest(filters=filters)
    answer = call(INTROSPECTION, "Plugins", request, introspection_pb2.PluginsResponse)
    assert len(answer.plugins) == count
    for plugin in answer.plugins:
        assert (plugin.type, plugin.id) == (CONTENT_PLUGIN, "contentui")
        assert dict(plugin.exports) == {"root": "/srv/content"}


def test_a_bad_filter_of_plugins(call):
    request = introspection_pb2.PluginsRequest(filters=["id=x"])
    code, text = refused(call, INTROSPECTION, "Plugins", request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("filters: parse error")


def test_exports_are_text_whatever_the_path_is(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\n")
    path.mkdir()
    assert introspection_service(identify(str(path), read_only="x", for_containerd="\udcff"))


def test_namespaces(call):
    def asked(name, request, answer=Empty):
        return call(NAMESPACES, name, request, answer)

    found = asked(
        "List", namespaces_pb2.ListNamespacesRequest(), namespaces_pb2.ListNamespacesResponse
    )
    assert [namespace.name for namespace in found.namespaces] == ["default"]
    request = namespaces_pb2.GetNamespaceRequest(name="k8s.io")
    assert asked("Get", request, namespaces_pb2.GetNamespaceResponse).namespace.name == "k8s.io"

    def create(name):
        namespace = namespaces_pb2.Namespace(name=name)
        request = namespaces_pb2.CreateNamespaceRequest(namespace=namespace)
        return refused(asked, "Create", request)

    code = grpc.StatusCode
    assert create("default") == (code.ALREADY_EXISTS, 'namespace "default": already exists')
    assert create("other")[0] == code.UNIMPLEMENTED
    assert "this store is flat" in create("other")[1]
    assert create("no/name")[0] == code.INVALID_ARGUMENT
    for name, request in (
        ("Update", namespaces_pb2.UpdateNamespaceRequest()),
        ("Delete", namespaces_pb2.DeleteNamespaceRequest(name="default")),
    ):
        assert refused(asked, name, request)[0] == code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a.b.Events/Subscribe", "unknown service a.b.Events"),
        (f"/{VERSION}/Other", f"unknown method Other for service {VERSION}"),
        (f"/{CONTENT}/Other", f"unknown method Other for service {CONTENT}"),
        ("/x", "unknown service "),
        ("/a/b/c", "unknown service a/b"),
        ("/" + "x" * 3000 + "/y", "unknown service xxx"),
    ],
    ids=range(6),
)
def test_unknown_methods(channel, path, text):
    stream = channel.unary_stream(path)
    for call in (channel.unary_unary(path), lambda *args, **more: next(stream(*args, **more))):
        with pytest.raises(grpc.RpcError) as error:
            call(b"", timeout=5)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert error.value.details().startswith(text)
        assert len(error.value.details()) < 2000


def test_the_uuid_stays_with_the_directory(tmp_path):
    first = identify(str(tmp_path))
    assert uuid.UUID(first.uuid).version == 4
    assert identify(str(tmp_path)) == first
    assert (tmp_path / ".contentui/uuid").read_text() == f"{first.uuid}\n"
    assert first.pid == os.getpid()
    assert first.pid_namespace == os.stat("/proc/self/ns/pid").st_ino
    other = tmp_path / "other"
    other.mkdir()
    assert identify(str(other)).uuid != first.uuid


def test_many_processes_agree_on_the_uuid(tmp_path):
    script = "import sys\nfrom contentui.servers.grpc.identity import identify\nsys.stdin.read(1)\n"
    script += f"print(identify({str(tmp_path)!r}).uuid)"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin
        child.stdin.write("x")
        child.stdin.flush()
    found = {child.communicate()[0] for child in children}
    assert len(found) == 1
    assert os.listdir(tmp_path / ".contentui") == ["uuid"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100, None])
def test_a_broken_uuid_is_made_anew(tmp_path, content):
    ours = tmp_path / ".contentui"
    ours.mkdir()
    if content is None:
        (ours / "uuid").symlink_to("/etc/machine-id")
    else:
        (ours / "uuid").write_bytes(content)
    found = identify(str(tmp_path)).uuid
    assert identify(str(tmp_path)).uuid == found
    assert (ours / "uuid").read_text().strip() == found


def test_a_directory_that_must_not_be_written_has_one_as_well(tmp_path):
    found = identify(str(tmp_path), read_only="because").uuid
    assert identify(str(tmp_path), read_only="because").uuid == found
    assert os.listdir(tmp_path) == []
    kept = identify(str(tmp_path)).uuid
    assert identify(str(tmp_path), read_only="because").uuid == kept


def test_no_directory_at_all():
    assert identify("").uuid != identify("").uuid
    assert service("x", {})
