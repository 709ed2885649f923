"""Archives of images into a store and out of one again; what is wrong with them is said."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile

import pytest

from contentui.archives.exporting import Export, Source
from contentui.archives.importing import Import
from contentui.archives.sources import archive_members, directory_members
from contentui.content.digest import Digest
from contentui.content.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from contentui.demo.unpackable import MANIFEST, make_unpackable
from contentui.oci.documents import INDEXES
from contentui.oci.platforms import Platform
from contentui.stores.local.store import LocalStore

NAME = "docker.io/library/demo:1"
IMAGE = make_unpackable(1, [2_000_000, 3_000])
BLOBS = {str(d): data for d, data in IMAGE.blobs.items()} | {str(IMAGE.digest): IMAGE.manifest}


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def descriptor(data: bytes, name: str = "", media_type: str = MANIFEST, **more: object) -> dict:
    found = {"mediaType": media_type, "digest": Digest.of(data), "size": len(data), **more}
    return found | ({"annotations": {"io.containerd.image.name": name}} if name else {})


def index_of(*descriptors: dict) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(descriptors)}).encode()


def path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def layout(blobs: dict[str, bytes] = BLOBS, index: bytes | None = None) -> dict[str, bytes]:
    files = {path(digest): data for digest, data in blobs.items()}
    files["index.json"] = index or index_of(descriptor(IMAGE.manifest, NAME))
    return files | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}


class Pipe(io.RawIOBase):
    """Bytes that come as from a pipe: few at a time, and never again."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._data.read(min(len(buffer), 4097))
        buffer[: len(data)] = data
        return len(data)


@pytest.fixture
def store(tmp_path):
    store = LocalStore(str(tmp_path / "store"), create=True)
    yield store
    store.close()


def take(store, data: bytes, name: str = ""):
    return Import(store, name=name).run(archive_members(Pipe(data), lambda _: None))


def there(store) -> set[str]:
    return {str(digest) for digest in store.digests()}


def give(store, *names: str, platforms=()) -> bytes:
    sources = [Source(name, store.images.get(name).target) for name in names]
    return b"".join(Export(store, sources, platforms).chunks())


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_layout_comes_in_through_a_pipe(store, compress):
    (found,) = take(store, compress(tar(layout())))
    assert (found.name, found.target.digest) == (NAME, IMAGE.digest)
    assert store.images.get(NAME).target == found.target
    assert there(store) == set(BLOBS)
    labels = store.info(IMAGE.digest).labels
    assert labels["containerd.io/gc.ref.content.l.1"] == str(Digest.of(IMAGE.layers[1]))
    assert store.statuses() == []


def test_the_documents_may_come_first(store):
    files = dict(reversed(layout().items()))
    assert [each.name for each in take(store, tar(files))] == [NAME]


def test_a_layout_in_a_directory(store, tmp_path):
    folder = tmp_path / "layout"
    with tarfile.open(fileobj=io.BytesIO(tar(layout()))) as archive:
        archive.extractall(folder, filter="data")
    (found,) = Import(store).run(directory_members(str(folder)))
    assert found.name == NAME


def test_a_link_in_a_directory_is_not_followed(store, tmp_path):
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "index.json").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        Import(store).run(directory_members(str(folder)))


def test_what_goes_out_comes_in_the_same(store, tmp_path):
    take(store, tar(layout()))
    archive = give(store, NAME)
    other = LocalStore(str(tmp_path / "other"), create=True)
    assert take(other, archive) == take(store, archive)
    assert there(other) == set(BLOBS)
    assert give(other, NAME) == archive
    other.close()


def test_an_archive_has_no_times_and_is_sorted(store):
    take(store, tar(layout()))
    with tarfile.open(fileobj=io.BytesIO(give(store, NAME))) as archive:
        members = archive.getmembers()
    assert {member.mtime for member in members} == {0}
    names = [member.name for member in members]
    assert names == [*sorted(path(d) for d in BLOBS), "index.json", "manifest.json", "oci-layout"]


def test_a_damaged_blob_leaves_an_archive_without_images(store, tmp_path):
    take(store, tar(layout()))
    file = tmp_path / "store" / path(str(Digest.of(IMAGE.layers[0])))
    file.chmod(0o644)
    file.write_bytes(b"x" * len(IMAGE.layers[0]))
    export = Export(store, [Source(NAME, store.images.get(NAME).target)])
    written = io.BytesIO()
    with pytest.raises(DataLoss):
        written.writelines(export.chunks())
    assert b"index.json" not in written.getvalue()
    assert not written.getvalue().endswith(bytes(1024))


PLAIN_LAYERS = [gzip.decompress(layer) for layer in IMAGE.layers]


def docker_archive(layers=PLAIN_LAYERS, config: bytes = IMAGE.config, **more: object) -> dict:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    entry = {"Config": f"{Digest.of(config).encoded}.json", "RepoTags": ["demo:1"]} | more
    return {
        **dict(zip(names, layers, strict=True)),
        f"{Digest.of(config).encoded}.json": config,
        "0/VERSION": b"1.0",
        "manifest.json": json.dumps([entry | {"Layers": names}]).encode(),
    }


@pytest.mark.parametrize("layers", [PLAIN_LAYERS, list(IMAGE.layers)], ids=["plain", "gzip"])
def test_a_docker_archive(store, layers):
    (found,) = take(store, tar(docker_archive(layers)))
    assert found.name == NAME
    manifest = json.loads(b"".join([store.reader(found.target.digest).read_at(1 << 20, 0)]))
    assert [layer["digest"] for layer in manifest["layers"]] == [str(Digest.of(d)) for d in layers]
    ending = ".gzip" if layers != PLAIN_LAYERS else ".tar"
    assert all(layer["mediaType"].endswith(ending) for layer in manifest["layers"])
    assert take(store, tar(docker_archive(layers)))[0].target == found.target


def test_layers_of_a_docker_archive_may_be_links(store):
    files = docker_archive()
    files["real.tar"] = files.pop("0/layer.tar")
    (found,) = take(store, tar(files, links={"0/layer.tar": "../real.tar"}))
    assert found.name == NAME
    assert str(Digest.of(PLAIN_LAYERS[0])) in there(store)


def test_an_altered_layer_of_a_docker_archive(store):
    altered = [PLAIN_LAYERS[0], PLAIN_LAYERS[1][:-1] + b"x"]
    with pytest.raises(FailedPrecondition, match="in the image's config"):
        take(store, tar(docker_archive(altered)))
    assert store.images.list() == []


def test_an_altered_config_of_a_docker_archive(store):
    files = docker_archive()
    files[f"{Digest.of(IMAGE.config).encoded}.json"] = IMAGE.config.replace(b"linux", b"minix")
    with pytest.raises(FailedPrecondition, match="differs from its name"):
        take(store, tar(files))


def test_too_few_layers(store):
    with pytest.raises(FailedPrecondition, match="has 1 layers, but its config has 2"):
        take(store, tar(docker_archive(PLAIN_LAYERS[:1])))


@pytest.mark.parametrize("number", [0, 1, 2], ids=["large", "small", "config"])
def test_altered_bytes_are_refused(store, number):
    digest = [str(Digest.of(d)) for d in (*IMAGE.layers, IMAGE.config)][number]
    blobs = BLOBS | {digest: BLOBS[digest][:-1] + b"?"}
    with pytest.raises(FailedPrecondition) as caught:
        take(store, tar(layout(blobs)))
    assert caught.value.advice
    assert digest not in there(store)
    assert store.images.list() == []


@pytest.mark.parametrize("number", range(3))
def test_missing_parts_are_named(store, number):
    digest = [str(Digest.of(d)) for d in (*IMAGE.layers, IMAGE.config)][number]
    blobs = {key: data for key, data in BLOBS.items() if key != digest}
    with pytest.raises(FailedPrecondition, match=f"(layer|config) {digest} is missing"):
        take(store, tar(layout(blobs)))
    assert store.images.list() == []
    store.put(BLOBS[digest])
    assert take(store, tar(layout(blobs)))[0].name == NAME  # it is here


def test_an_index_may_lack_platforms(store):
    other = make_unpackable(2, [100])
    platform = {"os": "linux", "architecture": "riscv64"}
    mine = {"os": "linux", "architecture": "amd64"}
    index = index_of(
        descriptor(IMAGE.manifest, platform=mine), descriptor(other.manifest, platform=platform)
    )
    outer = index_of(descriptor(index, NAME, INDEXES[0]))
    blobs = BLOBS | {str(Digest.of(index)): index}
    (found,) = take(store, tar(layout(blobs, outer)))
    assert found.target.digest == Digest.of(index)
    export = Export(store, [Source(NAME, found.target)])
    assert [str(each.platform) for each in export.absent] == ["linux/riscv64"]
    one = give(store, NAME, platforms=[Platform("linux", "amd64")])
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        listed = json.load(archive.extractfile("index.json"))["manifests"]
    assert [each["digest"] for each in listed] == [str(IMAGE.digest)]
    with pytest.raises(NotFound, match="has no image for linux/riscv64 in the store"):
        give(store, NAME, platforms=[Platform("linux", "riscv64")])


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("ghcr.io/a/b:c", "ghcr.io/a/b:c"),
        ("demo:2", "docker.io/library/demo:2"),
        ("latest", ""),
        ("../../etc/passwd", ""),
        ("\x1b[31mred/x:1", ""),
        (f"a/b@sha256:{'0' * 64}", ""),
        (f"a/b@{IMAGE.digest}", f"docker.io/a/b@{IMAGE.digest}"),
    ],
)
def test_names_are_names_or_nothing(store, called, name):
    index = index_of(descriptor(IMAGE.manifest, called))
    (found,) = take(store, tar(layout(index=index)))
    assert found.name == name
    assert [image.name for image in store.images.list()] == ([name] if name else [])


def test_a_name_of_ones_own(store):
    (found,) = take(store, tar(layout()), name="a.b/c:d")
    assert [image.name for image in store.images.list()] == [found.name] == ["a.b/c:d"]


def test_one_name_for_two_images(store):
    other = make_unpackable(2, [100])
    more = {str(d): data for d, data in other.blobs.items()} | {str(other.digest): other.manifest}
    index = index_of(descriptor(IMAGE.manifest, "a:1"), descriptor(other.manifest, "b:1"))
    data = tar(layout(BLOBS | more, index))
    with pytest.raises(InvalidArgument, match="has 2 images"):
        take(store, data, name="a.b/c:d")
    assert [each.name.rpartition("/")[2] for each in take(store, data)] == ["a:1", "b:1"]


def test_a_name_that_moves_is_told(store):
    other = store.put(b"{}")
    store.images.put(NAME, store.images.put(NAME, _target(other))[1])
    assert take(store, tar(layout()))[0].replaced == other.digest
    assert take(store, tar(layout()))[0].replaced is None


def _target(info):
    from contentui.content.model import Descriptor

    return Descriptor(MANIFEST, info.digest, info.size)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": b"1"}, "neither index.json nor manifest.json"),
        ({"index.json": b"{"}, "it is not JSON"),
        ({"index.json": b"[" * 100_000}, "it is not JSON|too complex"),
        ({"index.json": index_of()}, "has no images"),
        ({"manifest.json": b"{}"}, "it is not a list"),
        ({"manifest.json": b'[{"Config": 1}]'}, "has no config"),
        ({"manifest.json": b'[{"Config": "a.json", "Layers": ["../x"]}]'}, "a.json is missing"),
        ({"index.json": b" " * (5 << 20)}, "index.json in the archive is too large"),
        ({f"{n}.json": b" " * (4 << 20) for n in range(9)}, "8.json in the archive is too large"),
    ],
    ids=range(9),
)
def test_archives_that_hold_no_images(store, files, words):
    with pytest.raises((InvalidArgument, FailedPrecondition), match=words):
        take(store, tar(files))


def test_indexes_in_circles_and_too_deep(store):
    inner, blobs = IMAGE.manifest, dict(BLOBS)
    media_type = MANIFEST
    for _ in range(8):
        inner = index_of(descriptor(inner, media_type=media_type))
        media_type = INDEXES[0]
        blobs[str(Digest.of(inner))] = inner
    index = index_of(descriptor(inner, NAME, INDEXES[0]))
    with pytest.raises(FailedPrecondition, match="nested too deeply"):
        take(store, tar(layout(blobs, index)))


def test_zstd_is_refused_with_advice(store):
    with pytest.raises(InvalidArgument) as caught:
        take(store, b"\x28\xb5\x2f\xfd" + bytes(600))
    assert "zstd -dc" in caught.value.advice


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives_that_are_cut_short_or_damaged(store, compress):
    data = compress(tar(layout()))
    with pytest.raises(InvalidArgument, match=r"damaged or truncated|can't be read") as caught:
        take(store, data[: len(data) // 2])
    left = len(there(store))
    words = f"{left} complete blob" if left else ""
    assert words in caught.value.message
    assert [each.ref for each in store.statuses()] == [
        ref for ref in (f"tar-{path(digest)}" for digest in BLOBS) if ref in caught.value.message
    ]
    with pytest.raises((InvalidArgument, FailedPrecondition)):
        take(store, data[:5000] + bytes(5000) + data[10000:])
    assert store.images.list() == []


def test_a_layout_whose_manifest_lies_about_sizes(store):
    manifest = IMAGE.manifest.replace(b'"size":287', b'"size":288')
    assert manifest != IMAGE.manifest
    blobs = BLOBS | {str(Digest.of(manifest)): manifest}
    with pytest.raises(FailedPrecondition, match="has 287 bytes, but"):
        take(store, tar(layout(blobs, index_of(descriptor(manifest, NAME)))))


def test_no_file_is_made_but_in_the_store(store, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    files = layout() | {"../evil": b"1", "/abs/evil": b"2", "evil.tar": b"3", "x/../../y.json": b""}
    take(store, tar(files, links={"link": "/etc/passwd"}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "store"]
    assert list(folder.iterdir()) == []
