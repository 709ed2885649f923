"""Digests: what is one, and its parts."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.digest import EMPTY, HEX_LENGTHS, Digest, new_hash
from contentui.content.errors import InvalidArgument

HEX = "0123456789abcdef" * 8

algorithms = st.sampled_from(sorted(HEX_LENGTHS))
digests = algorithms.flatmap(
    lambda name: st.text(
        "0123456789abcdef", min_size=HEX_LENGTHS[name], max_size=HEX_LENGTHS[name]
    ).map(lambda digits: f"{name}:{digits}")
)


@given(digests)
def test_every_digest_parses_to_itself(text):
    digest = Digest.parse(text)
    assert digest == text
    assert hash(digest) == hash(text)
    assert f"{digest.algorithm}:{digest.encoded}" == text
    assert len(digest.encoded) == HEX_LENGTHS[digest.algorithm]
    assert Digest.found_in(f"layer-{text}.tmp") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256",
        HEX[:64],
        "sha256:" + HEX[:63],
        "sha256:" + HEX[:65],
        "sha256:" + HEX[:64].upper(),
        "sha256:" + HEX[:63] + "g",
        "sha256:" + HEX[:64] + "\n",
        "\nsha256:" + HEX[:64],
        " sha256:" + HEX[:64],
        "SHA256:" + HEX[:64],
        "sha512:" + HEX[:64],
        "sha384:" + HEX[:128],
        "sha1:" + HEX[:40],
        "md5:" + HEX[:32],
        "sha256/" + HEX[:64],
        "sha256:../../" + HEX[:58],
        "sha256:" + "٠" * 64,  # digits, but not ours
        "x" * 100_000,
    ],
)
def test_anything_else_is_refused_in_few_words(text):
    with pytest.raises(InvalidArgument) as caught:
        Digest.parse(text)
    assert len(caught.value.message) < 1000
    assert caught.value.message.isprintable()


@given(st.text())
def test_random_text_never_parses(text):
    with pytest.raises(InvalidArgument):
        Digest.parse(text)


@given(st.binary(max_size=200), algorithms)
def test_of_is_hashlibs(data, algorithm):
    digest = Digest.of(data, algorithm)
    assert digest == Digest.of(memoryview(data), algorithm)
    assert digest.encoded == hashlib.new(algorithm, data).hexdigest()
    assert Digest.parse(digest) == digest


def test_the_empty_digest():
    assert Digest.of(b"") == EMPTY
    assert new_hash("sha256").hexdigest() == EMPTY.encoded


def test_found_in_takes_the_last():
    first, last = Digest.of(b"1"), Digest.of(b"2", "sha512")
    assert Digest.found_in(f"{first}@{last}") == last
    assert Digest.found_in("layer-sha256:123") is None


def test_short():
    assert EMPTY.short() == "sha256:e3b0c44298fc"
    assert EMPTY.short(4) == "sha256:e3b0"
