"""Bodies of failed requests, in every shape that registries, proxies and object stores send."""

from __future__ import annotations

import pytest
from answering import Answering, Reply

from contentui.remotes.error_body import parse_problem
from contentui.remotes.errors import CHECK_ACCOUNT, LOG_IN, RetryableError
from contentui.remotes.http import Http
from contentui.remotes.response import from_response

S3 = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"""
BODIES = [
    (b"", "", ()),
    (b'{"errors":[{"code":"DENIED","message":"no"}]}', "DENIED no", ("DENIED",)),
    (
        b'{"errors":[{"code":"A","message":"x"},{"code":"B","detail":1}]}',
        "A x; B",
        ("A", "B"),
    ),
    (b'{"errors":["just text"]}', "", ()),
    (b'{"message":"toomanyrequests: slow down"}', "toomanyrequests: slow down", ()),
    (b'{"error":"invalid_grant","error_description":"bad password"}', "bad password", ()),
    (b'{"error":{"message":"nested"}}', "nested", ()),
    (b'{"error":{"code":5}}', "", ()),
    (b'[{"detail":"listed"}]', "listed", ()),
    (b"[" * 100_000, "[", ()),
    (S3, "AccessDenied Request has expired", ()),
    (b"<html><head><title>413 Request\n Entity &lt;Too&gt; Large</title>", "", ()),
    (b"404 page not found\n", "404 page not found", ()),
    (b"a\x1b]0;evil\x07b\xe2\x80\xae", "a\\x1b]0;evil\\x07b\\u202e", ()),
    (b"\x00\x01\x02", "", ()),
    (b"\xff\xfe\xff", "", ()),
    (b"word " * 1000, "word", ()),
]


@pytest.mark.parametrize(("body", "text", "codes"), BODIES)
def test_what_a_body_tells(body: bytes, text: str, codes: tuple[str, ...]) -> None:
    found = parse_problem(body, "")
    assert found.codes == codes
    assert found.text.startswith(text)
    assert bool(found.text) == bool(text) or b"<title>" in body
    assert len(found.text) <= 500
    assert found.text.isprintable()


def test_the_title_of_a_page() -> None:
    page = b"<html><head><title>413 Request\n Entity &lt;Too&gt; Large</title>"
    assert parse_problem(page, "text/html").text == "413 Request Entity <Too> Large"


@pytest.mark.parametrize(
    ("status", "body", "account", "advice"),
    [
        (401, b"", False, LOG_IN),
        (401, b"", True, CHECK_ACCOUNT),
        (403, b'{"errors":[{"code":"DENIED","message":"no"}]}', False, LOG_IN),
        (403, b'{"errors":[{"code":"DENIED","message":"no"}]}', True, CHECK_ACCOUNT),
        (403, b'{"errors":[{"code":"DENIED","message":"quota exceeded"}]}', True, "this limit"),
        (403, S3, False, "may not serve this address"),
        (403, b"<html><title>Blocked</title>", False, "may not serve this address"),
        (404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', False, "name of the repository"),
        (404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', False, "the tag or digest"),
    ],
)
def test_advice_fits(status: int, body: bytes, account: bool, advice: str) -> None:
    with Answering(lambda _: Reply(status, body)) as server:
        response = Http().request("GET", server.url)
        response.with_account = account
        error = from_response(response, "it")
    assert advice in error.advice


def test_a_failure_that_may_pass_has_its_reason() -> None:
    with Answering(lambda _: Reply(503, b"maintenance until noon")) as server:
        error = from_response(Http().request("GET", server.url), "it")
    assert isinstance(error, RetryableError)
    assert error.message.endswith("503 Service Unavailable: maintenance until noon")
