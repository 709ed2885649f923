"""The index knows who referrers a blob, and calls nothing free that it isn't sure of."""

from __future__ import annotations

import json
import threading
import tracemalloc

import pytest

from contentui.content.digest import Digest
from contentui.content.errors import PermissionDenied
from contentui.content.model import Info
from contentui.content.rules import GC_REFERENCE, GC_ROOT
from contentui.index import content_index as index_module
from contentui.index.content_index import ContentIndex
from contentui.index.model import Referrer
from contentui.oci.kinds import Kind
from contentui.stores.memory import MemoryStore

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


def document(**fields):
    return json.dumps(fields).encode()


def pointer(info, **more):
    return {"digest": info.digest, "size": info.size, **more}


class Image:
    """An index with one manifest, its config and two layers, in a store."""

    def __init__(self, store, **index_fields):
        self.layers = [store.put(b"\x1f\x8b one"), store.put(b"\x28\xb5\x2f\xfd two")]
        self.config = store.put(document(rootfs={"diff_ids": []}))
        self.manifest = store.put(
            document(
                mediaType=OCI_MANIFEST,
                config=pointer(self.config),
                layers=[pointer(layer) for layer in self.layers],
            )
        )
        self.index = store.put(
            document(mediaType=OCI_INDEX, manifests=[pointer(self.manifest)], **index_fields)
        )
        self.all = [self.index, self.manifest, self.config, *self.layers]


class CountingStore(MemoryStore):
    """Counts how often blobs are opened, and refuses some."""

    def __init__(self):
        super().__init__()
        self.opened = []
        self.refused = set()

    def reader(self, digest):
        self.opened.append(digest)
        if digest in self.refused:
            raise PermissionDenied(f"{digest} can't be read")
        return super().reader(digest)


@pytest.fixture
def store():
    return CountingStore()


def settled(store, **options):
    index = ContentIndex(store, **options)
    assert index.refresh(60)
    return index


def test_kinds(store):
    image = Image(store)
    other = store.put(b"who knows")
    empty = store.put(b"")
    index = settled(store)
    kinds = [index.kind(info.digest) for info in [*image.all, other, empty]]
    assert kinds == [
        Kind.INDEX,
        Kind.MANIFEST,
        Kind.CONFIG,
        Kind.LAYER_GZIP,
        Kind.LAYER_ZSTD,
        Kind.UNKNOWN,
        Kind.EMPTY,
    ]


def test_each_blob_is_read_once(store):
    image = Image(store)
    index = settled(store)
    index.refresh(60)
    for info in image.all:
        index.kind(info.digest)
    assert len(store.opened) == len(image.all)


def test_a_big_blob_is_only_glanced_at_and_only_when_asked(store, monkeypatch):
    monkeypatch.setattr(index_module, "MAX_DOCUMENT_SIZE", 100)
    big = store.put(b'{"manifests": [' + b" " * 1000)
    index = settled(store)
    assert store.opened == []
    assert big.digest not in index._kinds
    assert index.kind(big.digest) is Kind.JSON
    assert index._kinds[big.digest] is Kind.JSON
    assert index.referrers(big.digest) == ()


def test_who_needs_what_in_an_image(store):
    image = Image(store)
    index = settled(store)
    name = f"manifest {image.manifest.digest.short()}"
    referrer = Referrer("manifest", name, image.manifest.digest)
    assert index.referrers(image.layers[0].digest) == (referrer,)
    assert index.referrers(image.config.digest) == (referrer,)
    assert index.referrers(image.manifest.digest) == (
        Referrer("manifest", f"index {image.index.digest.short()}", image.index.digest),
    )
    assert index.referrers(image.index.digest) == ()
    assert image.index.digest not in index.all_referrers([image.index.digest])


def test_names_come_from_annotations(store):
    layer = store.put(b"layer")
    manifest = store.put(document(mediaType=OCI_MANIFEST, layers=[pointer(layer)]))
    store.put(
        document(
            mediaType=OCI_INDEX,
            annotations={REF_NAME: "all:of it"},
            manifests=[pointer(manifest, annotations={REF_NAME: "app:v1"})],
        )
    )
    index = settled(store)
    assert index.referrers(layer.digest)[0].name == "app:v1"
    assert index.referrers(manifest.digest)[0].name == "all:of it"


def test_labels_hold_blobs(store):
    kept = store.put(b"kept", labels={GC_ROOT: "now"})
    child, other, odd = store.put(b"child"), store.put(b"other"), store.put(b"odd")
    parent = store.put(
        b"parent",
        labels={
            GC_REFERENCE + ".l.0": child.digest,
            GC_REFERENCE + "/x": other.digest,
            GC_REFERENCE + "ual": odd.digest,
            GC_REFERENCE + ".bad": "sha256:no",
        },
    )
    index = settled(store)
    assert index.referrers(kept.digest) == (Referrer("root", GC_ROOT),)
    label = f"{GC_REFERENCE}.l.0 of {parent.digest.short()}"
    assert index.referrers(child.digest) == (Referrer("label", label, parent.digest),)
    assert index.referrers(other.digest)[0].by == "label"
    assert index.referrers(odd.digest) == ()
    assert index.referrers(parent.digest) == ()


def test_a_label_that_points_at_its_own_blob_needs_nothing(store):
    data = b"self"
    own = store.put(data, labels={GC_REFERENCE: Digest.of(data)})
    assert settled(store).referrers(own.digest) == ()


def test_label_changes_are_seen(store):
    child, parent = store.put(b"child"), store.put(b"parent")
    index = settled(store)
    assert index.referrers(child.digest) == ()
    before = index.version
    store.update(parent.digest, {GC_REFERENCE: child.digest})
    index.update(store.walk())
    assert index.version > before
    assert len(index.referrers(child.digest)) == 1
    store.update(parent.digest, {})
    index.update(store.walk())
    assert index.referrers(child.digest) == ()


def test_a_deleted_holder_needs_nothing_any_more(store):
    image = Image(store)
    index = settled(store)
    store.delete(image.manifest.digest)
    index.update(store.walk())
    assert index.referrers(image.layers[0].digest) == ()
    assert index.referrers(image.manifest.digest)[0].digest == image.index.digest


def test_nothing_new_keeps_the_version(store):
    Image(store)
    index = settled(store)
    before = index.version
    index.refresh(1)
    assert index.version == before


def test_before_anything_is_told_all_is_unknown(store):
    info = store.put(b"x")
    index = ContentIndex(store)
    assert index.referrers(info.digest) is None
    assert not index.scan(1)


def test_what_is_not_in_the_store_is_unknown(store):
    store.put(b"x")
    assert settled(store).referrers(Digest.of(b"elsewhere")) is None


def test_nothing_is_free_before_all_was_looked_at(store):
    image = Image(store)
    index = ContentIndex(store)
    index.update(store.walk())
    assert index.referrers(image.index.digest) is None
    steps = 1
    while not index.scan(0):
        steps += 1
    assert steps == len(image.all)
    assert index.referrers(image.index.digest) == ()


def test_unknown_labels_leave_nothing_free(store):
    image = Image(store)
    infos = [info._replace(labels=None) for info in store.walk()]
    index = ContentIndex(store)
    index.update(infos)
    assert index.scan(60)
    assert index.referrers(image.index.digest) is None
    found = index.referrers(image.layers[0].digest)
    assert [referrer.digest for referrer in found] == [image.manifest.digest]
    assert not index.all_referrers([image.layers[0].digest])[image.layers[0].digest][1]


def test_one_blob_with_unknown_labels_is_enough(store):
    free = store.put(b"free")
    dark = store.put(b"dark")
    index = ContentIndex(store)
    index.update([free, dark._replace(labels=None)])
    index.scan(60)
    assert index.referrers(free.digest) is None
    index.update([free, dark])
    assert index.referrers(free.digest) == ()


def test_an_unreadable_blob_leaves_nothing_free_until_it_can_be_read(store, monkeypatch):
    image = Image(store)
    store.refused = {image.manifest.digest}
    index = settled(store)
    assert index.kind(image.manifest.digest) is Kind.UNKNOWN
    assert index.referrers(image.layers[0].digest) is None
    monkeypatch.setattr(index_module, "_RETRY_AFTER_S", 0.0)
    store.refused = set()
    index._retry_at = 0.0
    assert index.refresh(60)
    assert index.referrers(image.layers[0].digest)


def test_an_unreadable_blob_is_not_tried_on_every_update(store):
    info = store.put(b"x")
    store.refused = {info.digest}
    index = settled(store)
    for _ in range(5):
        index.refresh(60)
    assert len(store.opened) <= 2


def test_an_altered_document_leaves_nothing_free(store):
    image = Image(store)
    info, data = store._blobs[image.manifest.digest]
    store._blobs[image.manifest.digest] = info, data.replace(b"layers", b"layerz")
    index = settled(store)
    assert index.referrers(image.layers[0].digest) is None
    # It can't referrer itself, so that it can be removed.
    store.delete(image.index.digest)
    index.refresh(60)
    assert index.referrers(image.manifest.digest) == ()


def test_a_blob_stored_anew_is_looked_at_again(store):
    image = Image(store)
    info, data = store._blobs[image.manifest.digest]
    store._blobs[image.manifest.digest] = info, b"{" + data
    index = settled(store)
    store._blobs[image.manifest.digest] = info._replace(committed_ns=info.committed_ns + 1), data
    assert index.refresh(60)
    assert index.referrers(image.layers[0].digest)


def test_a_document_too_deep_to_parse_leaves_nothing_free(store):
    free = store.put(b"free")
    store.put(b'{"layers": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    assert settled(store).referrers(free.digest) is None


def test_more_pointers_than_fit_leave_nothing_free(store):
    image = Image(store)
    index = settled(store, max_edges=2)
    assert index.referrers(image.index.digest) is None


def test_more_labels_than_fit_leave_nothing_free(store):
    children = [store.put(b"%d" % number) for number in range(4)]
    labels = {f"{GC_REFERENCE}.{info.digest}": info.digest for info in children}
    store.put(b"parent", labels=labels)
    free = store.put(b"free")
    assert settled(store, max_edges=3).referrers(free.digest) is None


def test_a_circle_is_fine(store):
    first, second = store.put(b"first"), store.put(b"second")
    store.update(first.digest, {GC_REFERENCE: second.digest})
    store.update(second.digest, {GC_REFERENCE: first.digest})
    index = settled(store)
    assert index.referrers(first.digest)[0].digest == second.digest
    assert index.referrers(second.digest)[0].digest == first.digest


def test_hostile_document_costs_bounded_memory(store):
    data = b'{"manifests": [' + b"{}," * 2_000_000 + b"{}]}"
    free = store.put(data)
    tracemalloc.start()
    try:
        index = settled(store)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000
    assert index.referrers(free.digest) == ()  # it can't referrer itself
    assert index.all_referrers([free.digest])[free.digest][1]


def test_many_threads_may_ask_tell_and_scan(store):
    image = Image(store)
    spare = [store.put(document(number=number)) for number in range(200)]
    index = ContentIndex(store)
    index.update(store.walk())
    wrong = []
    start = threading.Barrier(4)

    def look():
        start.wait()
        for _ in range(100):
            index.scan(0.0005)
            if index.referrers(image.layers[0].digest) == ():
                wrong.append("free")
            index.kind(image.manifest.digest)

    def tell():
        start.wait()
        for number in range(50):
            index.update([*image.all, *spare[number:]])

    threads = [threading.Thread(target=target) for target in (look, look, look, tell)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    while not index.scan(1):
        pass
    assert index.referrers(image.index.digest) == ()


def test_asking_now_looks_at_what_came_meanwhile(store):
    free = store.put(b"free")
    index = settled(store)
    child = store.put(b"child")
    store.put(document(manifests=[pointer(child)]))
    index.update(store.walk())
    assert index.referrers(free.digest) is None
    assert index.current_referrers(free.digest) == ()
    assert len(index.current_referrers(child.digest)) == 1


def test_asking_now_waits_for_a_look_of_another_thread(store):
    opened, go = threading.Event(), threading.Event()

    class SlowStore(MemoryStore):
        def reader(self, digest):
            opened.set()
            go.wait(10)
            return super().reader(digest)

    slow = SlowStore()
    info = slow.put(b"x")
    other = slow.put(b"y" * (9 * 1024 * 1024))
    index = ContentIndex(slow)
    index.update([info, other])
    looker = threading.Thread(target=index.scan, args=(10,))
    looker.start()
    opened.wait(10)
    assert index.current_referrers(other.digest, 0.01) is None
    threading.Timer(0.05, go.set).start()
    assert index.current_referrers(other.digest, 10) == ()
    looker.join()


def test_asking_now_before_anything_is_told_takes_no_time(store):
    assert ContentIndex(store).current_referrers(Digest.of(b"x"), 60) is None


def test_an_info_tells_labels_without_being_in_a_store(store):
    digest = Digest.of(b"gone")
    index = ContentIndex(store)
    index.update([Info(digest, 4, 1, 1, {GC_ROOT: "x"})])
    index.scan(1)
    assert index.referrers(digest) == (Referrer("root", GC_ROOT),)
