"""Leases: containerd's codes and texts, an end that comes by itself, and bounds."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from contentui.content.errors import InvalidArgument
from contentui.content.rules import GC_EXPIRE
from contentui.protocol import leases_pb2 as messages
from contentui.servers.grpc import leases as module
from contentui.servers.grpc.errors import Code, StatusError
from contentui.servers.grpc.leases import Leases, expiry

DIGEST = "sha256:" + "a" * 64


class Clock:
    now_ns = 1_700_000_000 * 10**9

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return Leases(clock)


def create(leases, name="", **labels):
    return leases.create(messages.CreateRequest(id=name, labels=labels)).lease


def ids(leases, *filters):
    return [lease.id for lease in leases.list(messages.ListRequest(filters=filters)).leases]


def refused(call, request):
    with pytest.raises(StatusError) as error:
        call(request)
    return error.value.code, error.value.text


def resource(name, kind="content", lease="a"):
    return messages.AddResourceRequest(id=lease, resource=messages.Resource(id=name, type=kind))


def listed(leases, lease="a"):
    found = leases.resources(messages.ListResourcesRequest(id=lease)).resources
    return [(item.type, item.id) for item in found]


def test_a_lease_is_made_listed_and_deleted(leases, clock):
    lease = create(leases, "a", x="1")
    assert (lease.id, dict(lease.labels)) == ("a", {"x": "1"})
    assert lease.created_at.ToNanoseconds() == clock.now_ns
    create(leases, "b")
    assert ids(leases) == ["a", "b"]
    leases.delete(messages.DeleteRequest(id="a", sync=True))
    assert ids(leases) == ["b"]


def test_one_without_a_name_gets_a_random_one(leases):
    names = {create(leases).id for _ in range(20)}
    assert len(names) == 20
    assert set(ids(leases)) == names


def test_what_is_there_and_what_is_not(leases):
    create(leases, "a")
    exists = Code.ALREADY_EXISTS, 'lease "a": already exists'
    missing = Code.NOT_FOUND, 'lease "b": not found'
    assert refused(leases.create, messages.CreateRequest(id="a")) == exists
    assert refused(leases.delete, messages.DeleteRequest(id="b")) == missing
    assert refused(leases.resources, messages.ListResourcesRequest(id="b")) == missing
    assert refused(leases.add_resource, resource(DIGEST, lease="b")) == missing
    assert refused(leases.delete_resource, resource(DIGEST, lease="b")) == missing


def test_filters(leases):
    create(leases, "a", x="1")
    create(leases, "b", x="2")
    assert ids(leases, "id==a") == ["a"]
    assert ids(leases, "labels.x==2") == ["b"]
    assert ids(leases, "labels.y") == []
    assert ids(leases, "id==a", "id==b") == ["a", "b"]
    with pytest.raises(InvalidArgument):
        ids(leases, "id=a")


def test_resources(leases):
    create(leases, "a")
    for name, kind in (("x", "ingests"), (DIGEST, "content"), ("s", "snapshots/native")):
        leases.add_resource(resource(name, kind))
        leases.add_resource(resource(name, kind))  # twice is once
    every = [("content", DIGEST), ("ingests", "x"), ("snapshots/native", "s")]
    assert listed(leases) == every
    leases.delete_resource(resource("x", "ingests"))
    leases.delete_resource(resource("x", "ingests"))  # what isn't there is no error
    assert listed(leases) == [every[0], every[2]]


@pytest.mark.parametrize(
    ("name", "kind", "code", "text"),
    [
        ("x", "content", Code.INVALID_ARGUMENT, "invalid content resource id x: "),
        (DIGEST, "content/x", Code.INVALID_ARGUMENT, "invalid resource type content/x: "),
        ("x", "ingests/", Code.INVALID_ARGUMENT, "invalid resource type ingests/: "),
        ("x", "snapshots", Code.INVALID_ARGUMENT, "invalid snapshot resource type snapshots: "),
        ("x", "other", Code.UNIMPLEMENTED, "resource type other not supported yet: not impl"),
    ],
)
def test_resources_that_make_no_sense(leases, name, kind, code, text):
    create(leases, "a")
    found = refused(leases.add_resource, resource(name, kind))
    assert found[0] == code
    assert found[1].startswith(text)


def test_a_lease_ends_at_the_time_in_its_label(leases, clock):
    create(leases, "a", **{GC_EXPIRE: "2023-11-14T22:13:30Z"})  # in ten seconds
    create(leases, "b")
    clock.now_ns += 9 * 10**9
    assert ids(leases) == ["a", "b"]
    clock.now_ns += 1 * 10**9
    assert ids(leases) == ["b"]
    assert refused(leases.delete, messages.DeleteRequest(id="a"))[0] == Code.NOT_FOUND
    create(leases, "a")


@pytest.mark.parametrize("text", ["", "tomorrow", "2023-11-14", "2023-11-14T22:13:30", "9" * 5000])
def test_a_time_that_is_none_ends_nothing(text):
    assert expiry({GC_EXPIRE: text}) is None


def test_times_as_go_writes_them():
    assert expiry({GC_EXPIRE: "2023-11-14T22:13:30.123456789+01:00"}) == pytest.approx(
        1699996410.123
    )


def test_too_many(leases, monkeypatch):
    monkeypatch.setattr(module, "MAX_LEASES", 3)
    monkeypatch.setattr(module, "MAX_RESOURCES", 2)
    for name in "abc":
        create(leases, name)
    assert refused(leases.create, messages.CreateRequest())[0] == Code.RESOURCE_EXHAUSTED
    for name in "xy":
        leases.add_resource(resource(name, "ingests"))
    assert refused(leases.add_resource, resource("z", "ingests"))[0] == Code.RESOURCE_EXHAUSTED
    leases.delete(messages.DeleteRequest(id="b"))
    create(leases, "d")


def test_all_together_take_bounded_memory_and_give_it_back(leases, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    create(leases, "a")
    for number in range(80):
        leases.add_resource(resource(f"{number:01000}", "ingests"))
    code, _ = refused(leases.add_resource, resource("x" * 10_000, "ingests"))
    assert code == Code.RESOURCE_EXHAUSTED
    assert refused(leases.create, messages.CreateRequest(labels={"x": "y" * 4000}))[0] == (
        Code.RESOURCE_EXHAUSTED
    )
    leases.delete(messages.DeleteRequest(id="a"))
    create(leases, "b", x="y" * 4000)
    leases.delete(messages.DeleteRequest(id="b"))
    assert leases._size == 0


def test_long_labels_and_names(leases):
    found = refused(leases.create, messages.CreateRequest(labels={"k" * 20: "v" * 4096}))
    text = "label key and value greater than maximum size (4096 bytes), key: kkkkkkkkkk"
    assert found == (Code.INVALID_ARGUMENT, f"{text}: invalid argument")
    assert refused(leases.create, messages.CreateRequest(id="x" * 5000))[0] == (
        Code.INVALID_ARGUMENT
    )


def test_one_of_many_makes_a_lease(leases):
    made = []

    def make():
        with suppress(StatusError):
            made.append(create(leases, "one"))

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
