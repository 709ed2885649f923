from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition, InvalidArgument
from contentui.oci.documents import (
    INDEXES,
    MANIFESTS,
    MAX_CHILDREN,
    child_gc_labels,
    make_ref_key,
    parse_manifest,
)
from contentui.oci.platforms import Platform, match, parse_platform

D = str(Digest.of(b"{}"))
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def child(**more: Any) -> dict[str, Any]:
    return {"mediaType": LAYER, "digest": D, "size": 2, **more}


def parse(value: object, media_type: str = "") -> Any:
    return parse_manifest(json.dumps(value).encode(), media_type)


@pytest.mark.parametrize(
    ("value", "media_type", "words"),
    [
        ([], "", "not a JSON object"),
        ({}, "", "neither manifests nor layers"),
        ({"manifests": [], "layers": []}, "", "at once"),
        ({"manifests": [], "config": None}, "", "at once"),
        ({"mediaType": INDEXES[0], "layers": []}, MANIFESTS[0], "its mediaType is"),
        ({"mediaType": INDEXES[0], "layers": []}, "", "its type is|neither"),
        ({"layers": []}, INDEXES[0], "neither"),
        ({"manifests": []}, MANIFESTS[0], "but it lists manifests"),
        ({"schemaVersion": 1, "fsLayers": []}, "text/plain", "schema 1"),
        ({"layers": {}}, "", "not a list"),
        ({"layers": [5]}, "", "not an object"),
        ({"layers": [child(size=-1)]}, "", "size"),
        ({"layers": [child(size=True)]}, "", "size"),
        ({"layers": [child(size=1 << 60)]}, "", "size"),
        ({"layers": [child(size=1.5)]}, "", "size"),
        ({"layers": [child(digest="sha256:../../x")]}, "", "digest"),
        ({"layers": [child(digest=5)]}, "", "digest"),
        ({"layers": [child()] * (MAX_CHILDREN + 1)}, "", "more than"),
        ({"layers": [], "Layers": [child()]}, "", "key Layers has the wrong case"),
        ({"layers": [{**child(), "Digest": D}]}, "", "key Digest has the wrong case"),
        ({"layers": [], "x": [[]] * 300_000}, "", "too complex"),
    ],
)
def test_what_cannot_be_trusted_is_refused(value: object, media_type: str, words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        parse(value, media_type)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 150_000,
        b'{"a":' * 90_000,
        b'{"layers":[],"layers":[]}',
        b'{"layers":[{"size":1,"size":2}]}',
        b'{"size":' + b"9" * 5000 + b"}",
    ],
)
def test_text_that_cannot_be_trusted_is_refused(data: bytes) -> None:
    with pytest.raises(FailedPrecondition):
        parse_manifest(data, "")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(D),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["layers", "config", "manifests", "digest", "size", "mediaType", "data"]
            )
            | st.sampled_from(["urls", "platform", "annotations", "schemaVersion", "blobs", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(_JSON | st.binary(max_size=50), st.sampled_from(["", *INDEXES, *MANIFESTS, "text/plain"]))
def test_anything_is_read_or_refused(value: object, media_type: str) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        manifest = parse_manifest(data, media_type)
    except ContentError as error:
        assert error.message.isprintable()  # noqa: PT017
        return
    for each in manifest.children:
        make_ref_key(each)
    child_gc_labels(manifest)


def test_artifacts_and_their_children() -> None:
    manifest = parse(
        {
            "config": child(mediaType="application/vnd.oci.empty.v1+json", data="e30="),
            "layers": [child(mediaType="text/x-anything"), child(mediaType="")],
            "subject": child(),
        },
        MANIFESTS[0],
    )
    config, any_type, no_type = manifest.children
    assert config.data == b"{}"
    assert not any_type.may_have_children
    assert not no_type.may_have_children
    assert make_ref_key(any_type) == f"unknown-{D}"


@pytest.mark.parametrize("data", ["e30", "!!!!", base64.b64encode(b"[]").decode(), "", 5, "\u00e9"])
def test_data_that_is_not_the_content_is_left(data: object) -> None:
    (only,) = parse({"layers": [child(data=data)]}).children
    assert only.data is None


def test_what_an_index_leads_to() -> None:
    entries = [child(mediaType=kind) for kind in (*MANIFESTS, *INDEXES, "", "text/plain")]
    manifest = parse({"manifests": entries})
    assert [each.may_have_children for each in manifest.children] == [True] * 6 + [False]


def test_refs_are_those_of_containerd() -> None:
    kinds = [
        (LAYER, "layer"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "layer"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "layer"),
        (CONFIG, "config"),
        ("application/vnd.docker.container.image.v1+json", "config"),
        (MANIFESTS[0], "manifest"),
        (INDEXES[1], "index"),
    ]
    manifest = parse({"layers": [child(mediaType=kind) for kind, _ in kinds]})
    assert [make_ref_key(each) for each in manifest.children] == [f"{ref}-{D}" for _, ref in kinds]
    named = child(annotations={"org.opencontainers.image.ref.name": "n"})
    assert make_ref_key(parse({"layers": [named]}).children[0]) == f"layer-n@{D}"


def test_foreign_layers_and_where_else_they_are() -> None:
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    (only,) = parse({"layers": [child(mediaType=kind, urls=["http://a/b", 5])]}).children
    assert only.is_nondistributable
    assert only.urls == ("http://a/b",)


@pytest.mark.parametrize(
    ("wanted", "offered", "fit"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64/v3", "linux/amd64", 2),
        ("linux/amd64", "linux/amd64/v2", None),
        ("arm64", "linux/arm64/v8", 0),
        ("linux/arm/v7", "linux/arm/v6", 1),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm", "linux/arm/v7", 0),
        ("linux/amd64", "windows/amd64", None),
        ("linux/x86_64", "linux/amd64", 0),
        ("linux/riscv64/a", "linux/riscv64/a", 0),
        ("linux/riscv64/a", "linux/riscv64/b", None),
    ],
)
def test_platforms(wanted: str, offered: str, fit: int | None) -> None:
    assert match(parse_platform(wanted), parse_platform(offered)) == fit


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/a b", "\x1b"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_platform(text)


def test_a_platform_in_words() -> None:
    assert str(Platform("linux", "arm", "v7")) == "linux/arm/v7"
