"""The Images service: containerd's codes, texts, masks and filters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from contentui.content.digest import Digest
from contentui.content.errors import ReadOnly
from contentui.protocol import images_pb2 as messages
from contentui.protocol.names import IMAGES, method
from contentui.protocol.types_pb2 import Descriptor
from contentui.servers.grpc.errors import Code, StatusError
from contentui.servers.grpc.images import Images
from contentui.stores.local.store import LocalStore

ONE, TWO = str(Digest.of(b"1")), str(Digest.of(b"2"))
KIND = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def images(memory):
    return Images(memory.images)


def image(name="x", digest=ONE, size=10, kind=KIND, **labels):
    target = Descriptor(media_type=kind, digest=digest, size=size)
    return messages.Image(name=name, target=target, labels=labels)


def create(images, *args, **labels):
    return images.create(messages.CreateImageRequest(image=image(*args, **labels))).image


def update(images, new, *mask):
    request = messages.UpdateImageRequest(image=new)
    request.update_mask.paths.extend(mask)
    return images.update(request).image


def names(images, *filters):
    found = images.list(messages.ListImagesRequest(filters=filters)).images
    return [image.name for image in found]


def get(images, name):
    return images.get(messages.GetImageRequest(name=name)).image


def refused(call, *args):
    with pytest.raises(StatusError) as error:
        call(*args)
    return error.value.code, error.value.text


def test_an_image_is_made_listed_read_and_deleted(images, memory):
    made = create(images, "b", ONE, 10, KIND, x="1")
    create(images, "a", TWO)
    assert names(images) == ["a", "b"]
    assert get(images, "b") == made
    assert (made.target.digest, made.target.size, made.target.media_type) == (ONE, 10, KIND)
    assert dict(made.labels) == {"x": "1"}
    assert made.created_at.seconds > 1_600_000_000
    assert made.created_at == made.updated_at
    assert str(memory.images.get("b").target.digest) == ONE
    images.delete(messages.DeleteImageRequest(name="b", sync=True))
    assert names(images) == ["a"]


def test_what_is_there_and_what_is_not(images):
    create(images, "x")
    missing = Code.NOT_FOUND, 'image "y": not found'
    assert refused(create, images, "x") == (Code.ALREADY_EXISTS, 'image "x": already exists')
    assert refused(get, images, "y") == missing
    assert refused(update, images, image("y")) == missing
    assert refused(images.delete, messages.DeleteImageRequest(name="y")) == missing


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (image(""), "Image.Name required"),
        (image(digest=""), 'Target.Digest "" invalid: '),
        (image(digest="sha256:0"), 'Target.Digest "sha256:0" invalid: '),
        (image(size=0), "Target.Size must be greater than zero: invalid argument"),
        (image(size=-1), "Target.Size must be greater than zero: invalid argument"),
        (image(kind=""), "Target.MediaType must be set: invalid argument"),
        (image(k="v" * 4096), "image.Labels: label key and value greater than maximum size"),
    ],
)
def test_images_that_make_no_sense(images, bad, text):
    code, said = refused(images.create, messages.CreateImageRequest(image=bad))
    assert code == Code.INVALID_ARGUMENT
    assert said.startswith(text)
    assert names(images) == []


def test_filters(images):
    create(images, "docker.io/a:1", ONE, 10, KIND, x="1")
    create(images, "docker.io/b:1", TWO, 10, "other")
    assert names(images, 'name=="docker.io/a:1"') == ["docker.io/a:1"]
    assert names(images, "name~=b:1$") == ["docker.io/b:1"]
    assert names(images, f'target.digest=="{TWO}"') == ["docker.io/b:1"]
    assert names(images, "target.mediatype==other") == ["docker.io/b:1"]
    assert names(images, "labels.x==1") == ["docker.io/a:1"]
    assert names(images, "labels.x") == ["docker.io/a:1"]
    assert names(images, "target") == names(images, "annotations.x") == names(images, "z") == []
    assert len(names(images, "labels.x==1", "target.mediatype==other")) == 2
    assert len(names(images, "")) == 2


def test_an_update_without_a_mask_replaces_all(images):
    before = create(images, "x", ONE, 10, KIND, a="1")
    after = update(images, image("x", TWO, 20, "other", b="2"))
    assert (after.target.digest, after.target.size, dict(after.labels)) == (TWO, 20, {"b": "2"})
    assert after.created_at == before.created_at
    assert get(images, "x") == after


def test_masks(images):
    create(images, "x", ONE, 10, KIND, a="1", b="2", **{"c.d/e": "3"})
    new = image("x", TWO, 20, "other", a="9", f="6", g="")
    assert dict(update(images, new, "labels.a").labels) == {"a": "9", "b": "2", "c.d/e": "3"}
    assert dict(update(images, new, "labels.b", "labels.f").labels) == {
        "a": "9",
        "c.d/e": "3",
        "f": "6",
    }
    assert "c.d/e" not in update(images, new, "labels.c.d/e").labels
    assert get(images, "x").target.digest == ONE
    assert update(images, new, "target").target.digest == TWO
    assert dict(update(images, image("x", z="1"), "labels").labels) == {"z": "1"}
    assert update(images, image("x"), "annotations").target.digest == TWO


def test_a_bad_mask_changes_nothing(images):
    create(images, "x", ONE, 10, KIND, a="1")
    found = refused(update, images, image("x", TWO, 20, KIND, a="2"), "labels.a", "name")
    assert found == (
        Code.INVALID_ARGUMENT,
        'cannot update "name" field on image "x": invalid argument',
    )
    assert dict(get(images, "x").labels) == {"a": "1"}
    assert refused(update, images, image("x", digest="x"), "target")[0] == Code.INVALID_ARGUMENT
    assert update(images, image("x", digest="x"), "labels").target.digest == ONE


def test_a_read_only_store_reports_why(tmp_path):
    LocalStore(str(tmp_path)).close()
    with LocalStore(str(tmp_path), read_only=True) as store:
        with pytest.raises(ReadOnly) as error:
            create(Images(store.images))
        assert error.value.advice == "it was opened read-only (--read-only)"


def test_a_malformed_message_is_an_invalid_argument(channel):
    for name in ("Get", "List", "Create", "Update", "Delete"):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(method(IMAGES, name))(b"\xff\xff", timeout=5)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert error.value.details() == "the message cannot be decoded: invalid argument"


def test_one_of_many_makes_an_image(images):
    def make(number):
        try:
            return create(images, "x", str(Digest.of(b"%d" % number))).target.digest
        except StatusError as refusal:
            return refusal.code

    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(make, range(64)))
    assert made == {Code.ALREADY_EXISTS, get(images, "x").target.digest}
