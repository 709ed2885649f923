from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.errors import InvalidArgument
from contentui.oci.references import parse_reference

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:7.4", "docker.io/library/redis:7.4"),
        ("team/web", "docker.io/team/web:latest"),
        ("docker.io/library/redis:7.4", "docker.io/library/redis:7.4"),
        ("index.docker.io/redis", "docker.io/library/redis:latest"),
        ("localhost/web", "localhost/web:latest"),
        ("localhost:5000/a/b/c:v1", "localhost:5000/a/b/c:v1"),
        ("[::1]:5000/web:v1", "[::1]:5000/web:v1"),
        ("MyHost/web", "MyHost/web:latest"),
        (f"quay.io/a/b@{D}", f"quay.io/a/b@{D}"),
        (f"quay.io/a/b:v1@{D}", f"quay.io/a/b:v1@{D}"),
        ("a.b/c__d/e---f:T_1.2-3", "a.b/c__d/e---f:T_1.2-3"),
    ],
)
def test_both_styles_give_the_full_name(text: str, full: str) -> None:
    reference = parse_reference(text)
    assert str(reference) == full
    assert parse_reference(full) == reference


def test_a_digest_wins_over_a_tag() -> None:
    assert parse_reference(f"quay.io/a/b:v1@{D}").object == D


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://quay.io/a/b",
        "a" * 64,
        "Upper/",
        "quay.io/Upper:v1",
        "quay.io/a//b",
        "quay.io/a:",
        "quay.io/a:v 1",
        "quay.io/a@sha256:12",
        "quay.io/" + "a" * 260,
        "-host.io/a",
        "a\x1b[31m",
        "quay.io/a/../b",
    ],
)
def test_what_is_no_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_reference(text)
    assert caught.value.message.isprintable()


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert parse_reference(str(reference)) == reference
