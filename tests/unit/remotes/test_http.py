from __future__ import annotations

import threading
import time

import pytest
from answering import Answering, Asked, Reply

from contentui.content.errors import ContentError, InvalidArgument
from contentui.remotes.errors import Refused, RetryableError
from contentui.remotes.http import Http
from contentui.remotes.response import from_response, retry_after_s
from contentui.remotes.settings import Timeouts
from contentui.remotes.urls import host_of, redacted


def answer_hello(_: Asked) -> Reply:
    return Reply(body=b"hello")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_connection_is_used_again(method: str) -> None:
    with Answering(answer_hello) as server:
        http = Http()
        for _ in range(3):
            with http.request(method, server.url) as answer:
                assert answer.read(10) == (b"hello" if method == "GET" else b"")
        http.close()
        assert len({each.connection for each in server.asked}) == 1


def test_a_short_body_that_nobody_reads_keeps_its_connection() -> None:
    with Answering(lambda _: Reply(404, b"x" * 1000)) as server:
        http = Http()
        for _ in range(3):
            http.request("GET", server.url).close()
        http.close()
        assert len({each.connection for each in server.asked}) == 1


def test_a_connection_that_ended_meanwhile_is_replaced() -> None:
    with Answering(lambda _: Reply(body=b"hello", hang_up=True)) as server:
        http = Http()
        for _ in range(3):
            with http.request("GET", server.url) as answer:
                assert answer.read(10) == b"hello"
            time.sleep(0.02)
        assert len(server.asked) == 3
        http.close()


def test_redirects_tell_another_host_nothing_private() -> None:
    with Answering(answer_hello) as other:
        to_other = Reply(307, headers={"Location": f"{other.url}/there?sig=1"})
        with Answering(lambda _: to_other) as first:
            private = {"Authorization": "Bearer secret", "Cookie": "c", "X-Own": "o", "Range": "r"}
            http = Http()
            with http.follow("GET", f"{first.url}/here", headers=private) as answer:
                assert answer.read(10) == b"hello"
                assert answer.host == other.host
            http.close()
        seen = other.asked[0].headers
        assert seen["range"] == "r"
        assert not {"authorization", "cookie", "x-own"} & set(seen)
        assert first.asked[0].headers["authorization"] == "Bearer secret"


def test_redirects_within_a_host_keep_credentials_and_circles_end() -> None:
    with Answering(lambda _: Reply(302, headers={"Location": "/again"})) as server:
        http = Http()
        with pytest.raises(Refused, match="more than 10 times"):
            http.follow("GET", server.url, headers={"Authorization": "Bearer t"})
        http.close()
        assert len(server.asked) == 11
        assert {each.headers["authorization"] for each in server.asked} == {"Bearer t"}


@pytest.mark.parametrize(
    "location",
    ["http://[x/?s=hush", "ftp://h/?s=hush", "http://h:0/?s=hush", "http://h\xe9/?s=hush"],
)
def test_redirects_to_nowhere_are_refused_in_words(location: str) -> None:
    with Answering(lambda _: Reply(302, headers={"Location": location})) as server:
        http = Http()
        with pytest.raises(Refused, match=f"{server.host} redirects to") as caught:
            http.follow("GET", server.url)
        assert "hush" not in caught.value.message
        http.close()


def test_odd_paths_are_quoted() -> None:
    with Answering(answer_hello) as server:
        http = Http()
        http.request("GET", f"{server.url}/a b\xe9?q=%2F").close()
        http.close()
        assert server.asked[0].path == "/a%20b%C3%A9?q=%2F"


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer hush\r\nX: y"}, {"Authorization": "hush\u20ac"}]
)
def test_headers_that_cannot_be_sent_are_not_repeated(headers: dict[str, str]) -> None:
    with Answering(answer_hello) as server:
        http = Http()
        with pytest.raises(InvalidArgument) as caught:
            http.request("GET", server.url, headers=headers)
        assert "hush" not in str(caught.value.message)
        http.close()


def test_a_silent_host_is_left_after_the_wait() -> None:
    silent = threading.Event()

    def wait(_: Asked) -> Reply:
        silent.wait(5)
        return Reply()

    with Answering(wait) as server:
        http = Http(Timeouts(head_s=0.2))
        with pytest.raises(RetryableError, match=r"for 0\.2s"):
            http.request("GET", server.url)
        silent.set()


def test_interrupting_wakes_who_waits() -> None:
    silent, asked = threading.Event(), threading.Event()

    def wait(_: Asked) -> Reply:
        asked.set()
        silent.wait(5)
        return Reply()

    with Answering(wait) as server:
        http = Http()
        threading.Thread(target=lambda: (asked.wait(5), http.interrupt()), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(RetryableError):
            http.request("GET", server.url)
        assert time.monotonic() - began < 3
        with pytest.raises(RetryableError):
            http.request("GET", server.url)
        silent.set()


def test_a_proxy_is_asked_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with Answering(answer_hello) as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p%40@{proxy.host}")
        monkeypatch.setenv("no_proxy", "direct.example")
        http = Http()
        with http.request("GET", "http://registry.example/v2/") as answer:
            assert answer.read(10) == b"hello"
        http.close()
        assert proxy.asked[0].path == "http://registry.example/v2/"
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic dTpwQA=="


def test_https_from_a_plain_server_is_reported_as_that() -> None:
    with Answering(answer_hello) as server:
        with pytest.raises(ContentError) as caught:
            Http().request("GET", f"https://{server.host}/")
        assert isinstance(caught.value, Refused)
        assert "--plain-http" in caught.value.advice


@pytest.mark.parametrize(
    ("url", "shown", "host"),
    [
        ("https://u:p@h:1/a/b?sig=1#f", "https://h:1/a/b", "h:1"),
        ("/relative?x", "/relative", ""),
        ("http://[x/?s", "http://[x/", ""),
        ("http://h", "http://h", "h"),
    ],
)
def test_what_is_shown_of_urls(url: str, shown: str, host: str) -> None:
    assert redacted(url) == shown
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("9" * 400, 999999999.0),
        ("soon", None),
        ("-5", None),
        ("\u0665", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, 10.0) == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors":[{"code":"A","message":"one"},{"code":"B","detail":{}}]}', "A one; B"),
        (b'{"errors":[{"message":"\\u001b[31mred"}]}', "red"),
        (b'{"errors":"no"}', ""),
        (b'{"errors":[1]}', ""),
        (b"[" * 60_000, ""),
        (b"<html>", ""),
        (b'{"errors":[{"message":"' + b"x" * 100_000, ""),
    ],
)
def test_a_refusal_in_the_registrys_words(body: bytes, words: str) -> None:
    with Answering(lambda _: Reply(400, body)) as server:
        http = Http()
        error = from_response(http.request("GET", f"{server.url}/p?token=hush"), "it")
        http.close()
    assert isinstance(error, Refused)
    assert words in error.message
    assert error.message.isprintable()
    assert len(error.message) < 900
    assert "hush" not in error.message
