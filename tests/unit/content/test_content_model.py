"""Refs, ids, and how to type them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contentui.content.model import (
    IngestId,
    Status,
    id_text,
    ingest_id,
    parse_ref_argument,
    ref_argument,
    ref_bytes,
    ref_is_text,
)

refs = st.binary(min_size=1, max_size=100).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


def status(ref, ident=None):
    return Status(ref, 0, 0, 0, 0, None, ingest_id(ref) if ident is None else ident)


@given(refs)
def test_a_refs_bytes_are_exact(ref):
    assert ref_bytes(ref).decode("utf-8", "surrogateescape") == ref
    assert ingest_id(ref) == hashlib.sha256(ref_bytes(ref)).hexdigest()
    assert ingest_id(ingest_id(ref)) == ingest_id(ref)


@given(st.text(st.characters(codec="utf-8")))
def test_text_is_text(ref):
    assert ref_is_text(ref)


@pytest.mark.parametrize("ref", ["\udcff", "a\udc80b"])
def test_bytes_are_no_text(ref):
    assert not ref_is_text(ref)


@given(refs)
@example("id:" + "0" * 64)
@example("-rf")
@example("--")
@example("\n")
@example(" ")
@example("\u202e")
@example("\udcff")
def test_an_argument_names_its_ingest(ref):
    argument = ref_argument(status(ref))
    assert argument.isprintable()
    assert argument
    assert not argument.startswith("-")
    assert ingest_id(parse_ref_argument(argument)) == ingest_id(ref)


@given(refs)
def test_a_wrongly_named_directory_is_named_by_its_name(name):
    argument = ref_argument(status("some ref", IngestId(name)))
    assert argument.startswith("id:")
    assert argument.isascii()
    assert argument.isprintable()
    found = parse_ref_argument(argument)
    assert isinstance(found, IngestId)
    assert found == name


def test_a_lost_ref_is_named_by_its_directory():
    assert ref_argument(status("", IngestId("ab12"))) == "id:ab12"


@pytest.mark.parametrize("ref", ["layer-1", "img/1/layer", "with space", "é", "ids"])
def test_what_can_be_typed_is_typed(ref):
    assert ref_argument(status(ref)) == ref
    assert not isinstance(parse_ref_argument(ref), IngestId)


def test_id_text_is_ascii():
    assert id_text(IngestId("a/b c")) == "a%2Fb%20c"
    assert id_text(IngestId("0" * 64)) == "0" * 64
