"""Which proxy counts for which host, and real proxies of every kind."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
from answering import Answering, Asked, Reply
from proxying import RealProxy
from test_tls import HELLO, Secure, keys

from contentui.content.errors import ContentError, InvalidArgument
from contentui.remotes.errors import Refused, RetryableError
from contentui.remotes.http import Http
from contentui.remotes.proxies import find_proxy
from contentui.remotes.response import from_response
from contentui.remotes.settings import Timeouts, Tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["keys"]  # a fixture
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name == "REQUEST_METHOD":
            monkeypatch.delenv(name)


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(Timeouts(3, 3, 3))
    yield made
    made.close()


def shown(scheme: str, address: str, **environment: str) -> str:
    """The proxy as a URL without its account; empty without one."""
    found = find_proxy(scheme, address, environment)
    return f"{found.scheme}://{found.address}" if found else ""


@pytest.mark.parametrize(
    ("scheme", "environment", "expected"),
    [
        ("https", {}, ""),
        ("https", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https", {"https_proxy": "http://p:3128/"}, "http://p:3128"),
        ("https", {"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        ("https", {"HTTPS_PROXY": "", "https_proxy": "http://b:1"}, "http://b:1"),
        ("https", {"HTTP_PROXY": "http://p:3128"}, ""),
        ("https", {"ALL_PROXY": "http://p:3128"}, ""),
        ("http", {"HTTP_PROXY": "p.lan:3128"}, "http://p.lan:3128"),
        ("http", {"HTTP_PROXY": "p.lan"}, "http://p.lan:80"),
        ("http", {"HTTP_PROXY": "https://p.lan"}, "https://p.lan:443"),
        ("http", {"HTTP_PROXY": " socks5://p.lan "}, "socks5://p.lan:1080"),
        ("http", {"HTTP_PROXY": "socks5h://[fd00::1]:9"}, "socks5h://[fd00::1]:9"),
        ("http", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, ""),
        ("http", {"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
        ("https", {"HTTPS_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://p:1"),
    ],
)
def test_which_variable_counts(scheme: str, environment: dict[str, str], expected: str) -> None:
    assert shown(scheme, "registry.example", **environment) == expected


@pytest.mark.parametrize(
    ("no_proxy", "address", "direct"),
    [
        ("", "localhost", True),
        ("", "LOCALHOST:5000", True),
        ("", "127.0.0.1:5000", True),
        ("", "127.9.9.9", True),
        ("", "[::1]:5000", True),
        ("", "[::ffff:127.0.0.1]:5000", True),
        ("", "localhost.example", False),
        ("", "10.0.0.1", False),
        ("*", "registry.example", True),
        ("a, *", "registry.example", True),
        ("registry.example", "registry.example", True),
        ("REGISTRY.example", "registry.EXAMPLE:5000", True),
        ("example", "registry.example", True),
        ("ample", "registry.example", False),
        (".example", "registry.example", True),
        (".registry.example", "registry.example", False),
        ("*.example", "registry.example", True),
        ("*.registry.example", "registry.example", False),
        ("*ample", "registry.example", False),
        ("registry.example:443", "registry.example", True),
        ("registry.example:5000", "registry.example", False),
        ("registry.example:5000", "registry.example:5000", True),
        (".example:5000", "registry.example:5000", True),
        ("other, registry.example ,", "registry.example", True),
        ("other registry.example", "registry.example", False),
        ("10.0.0.0/8", "10.1.2.3:5000", True),
        ("10.9.9.9/8", "10.1.2.3", True),
        ("10.0.0.0/255.0.0.0", "10.1.2.3", False),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "fd00.example", False),
        ("fd00::/8", "[fd00::1]:5000", True),
        ("10.1.2.3", "10.1.2.3:5000", True),
        ("10.1.2.3:5000", "10.1.2.3:5000", True),
        ("10.1.2.3:5001", "10.1.2.3:5000", False),
        ("fd00::1", "[fd00::1]", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("[fd00::1]:5000", "[fd00::1]:5001", False),
        ("::ffff:10.1.2.3", "10.1.2.3", True),
        ("b\u00fccher.example", "xn--bcher-kva.example", True),
        ("registry.example:x, :5000, ., [, ://, /8, %", "registry.example", False),
    ],
)
def test_no_proxy(no_proxy: str, address: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        environment = {"HTTPS_PROXY": "http://p:1", name: no_proxy}
        assert shown("https", address, **environment) == ("" if direct else "http://p:1")


@pytest.mark.parametrize(
    "url",
    ["ftp://hush@p", "socks4://p", "http://", "http://hush@", "http://p:0", "http://p:x", "http://[",
     "http://a b", "http://p:99999", "://"],
)  # fmt: skip
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^\$https_proxy is not the URL") as caught:
        find_proxy("https", "registry.example", {"https_proxy": url})
    assert "hush" not in caught.value.message
    assert "socks5://" in caught.value.advice


def test_what_socks_cannot_carry() -> None:
    with pytest.raises(InvalidArgument, match="longer than 255 bytes"):
        find_proxy("https", "r.example", {"https_proxy": f"socks5://u:{'x' * 256}@p"})


def test_passwords_are_decoded_and_never_shown() -> None:
    found = find_proxy("https", "r.example", {"https_proxy": "http://u%3A:hu%40sh@p"})
    assert found is not None
    assert (found.user, found.password) == ("u:", "hu@sh")
    assert "hu@sh" not in repr(found)


def serving_tls(keys: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.crt", keys / "server.key")
    return context


KINDS = ["http", "https", "socks5", "socks5h"]


@needs_openssl
@pytest.mark.parametrize("account", ["", "me:p%@:w"])
@pytest.mark.parametrize("kind", KINDS)
def test_tls_through_every_kind(
    keys: Path, http: Http, monkeypatch: pytest.MonkeyPatch, kind: str, account: str
) -> None:
    body = os.urandom(3_000_000)
    tls = serving_tls(keys) if kind == "https" else None
    trusted = Tls(ca=(str(keys / "ca.crt"),))
    with (
        Secure(keys, Reply(body=body), "misnamed") as server,  # its name is registry.example
        RealProxy(server.host, account=account, tls=tls) as proxy,
    ):
        pair = "me:p%25%40:w@" if account else ""
        monkeypatch.setenv("https_proxy", f"{kind}://{pair}{proxy.address}")
        for _ in range(2):
            with http.request("GET", "https://registry.example/v2/", tls=trusted) as answer:
                assert answer.read(len(body)) == body
        assert proxy.asked == ["registry.example:443"]  # and once: the connection is kept
        assert "proxy-authorization" not in server.asked[0].headers
        assert server.asked[0].headers["host"] == "registry.example"


@needs_openssl
@pytest.mark.parametrize("account", ["", "me:pw"])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_http_through_every_kind(
    keys: Path, http: Http, monkeypatch: pytest.MonkeyPatch, kind: str, account: str
) -> None:
    tls = serving_tls(keys) if kind == "https" else None
    with (
        Answering(lambda asked: Reply(body=asked.body.encode())) as server,
        RealProxy(server.host, account=account, tls=tls) as proxy,
    ):
        pair = f"{account}@" if account else ""
        monkeypatch.setenv("http_proxy", f"{kind}://{pair}{proxy.address}")
        body = b"x" * 2_000_000
        url = "http://registry.example:5000/v2/"
        tls_settings = Tls(ca=(str(keys / "ca.crt"),))
        with http.request("POST", url, body=body, tls=tls_settings) as answer:
            assert answer.read(len(body)) == body
        forwards = kind in ("http", "https")
        assert proxy.asked == [url if forwards else "registry.example:5000"]
        assert server.asked[0].headers["host"] == "registry.example:5000"
        assert server.asked[0].path == "/v2/"


@needs_openssl
def test_nothing_is_left_of_a_tls_proxy(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = Tls(ca=(str(keys / "ca.crt"),))
    large = Reply(body=b"x" * 20_000_000)

    def relays() -> int:
        return sum(thread.name == "contentui-proxy" for thread in threading.enumerate())

    with (
        Answering(lambda _: large) as server,
        RealProxy(server.host, tls=serving_tls(keys)) as proxy,
    ):
        monkeypatch.setenv("http_proxy", f"https://{proxy.address}")
        http = Http(Timeouts(3, 3, 3))
        answer = http.request("GET", "http://registry.example/", tls=trusted)
        assert relays() == 1
        http.interrupt()  # with most of the body unread
        answer.close()
        http.close()
        until_s = time.monotonic() + 5
        while relays():
            assert time.monotonic() < until_s
            time.sleep(0.01)


def test_addresses_through_socks(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with Answering(lambda _: HELLO) as server, RealProxy(server.host) as proxy:
        monkeypatch.setenv("http_proxy", f"socks5://{proxy.address}")
        for address in ("10.9.8.7", "[fd00::9]:5000"):
            with http.request("GET", f"http://{address}/") as answer:
                assert answer.read(5) == b"hello"
        assert proxy.asked == ["10.9.8.7:80", "fd00::9:5000"]


def test_this_machine_is_asked_directly(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")
    with Answering(lambda _: HELLO) as server, http.request("GET", server.url) as answer:
        assert answer.read(5) == b"hello"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize(
    ("pair", "words", "advice"),
    [
        ("", "requires a user and a password", "://USER:PASSWORD@"),
        ("me:hush@", "rejects the user and the password in $http", "check both"),
    ],
)
def test_a_proxy_that_wants_an_account(
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    kind: str,
    pair: str,
    words: str,
    advice: str,
) -> None:
    with Answering(lambda _: HELLO) as server, RealProxy(server.host, account="a:b") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"{kind}://{pair}{proxy.address}")
        with pytest.raises(Refused) as caught:
            http.request("GET", f"{scheme}://registry.example/")
        assert f"the proxy {proxy.address} {words}" in caught.value.message
        assert advice in caught.value.advice
        assert "hush" not in caught.value.message + caught.value.advice
        assert server.asked == []


@pytest.mark.parametrize(
    ("kind", "reply", "error", "words"),
    [
        ("http", b"HTTP/1.1 403 No\x1b way\r\n\r\n", Refused,
         r"does not connect to registry.example:443: 403 No\\x1b way"),
        ("http", b"HTTP/1.1 502\r\n\r\n<html>", RetryableError, "does not connect .*: 502$"),
        ("http", b"SSH-2.0-x\r\n", Refused, "doesn't respond as an HTTP proxy"),
        ("http", b"HTTP/1.1 " + b"x" * 20000, Refused, "doesn't respond as an HTTP proxy"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nsurprise", Refused, "doesn't respond as an HTTP proxy"),
        ("http", b"HTTP/1.1 200 OK\r\n", RetryableError, "closed the connection without a resp"),
        ("socks5", b"HTTP/1.1 400 what\r\n", Refused, "doesn't respond as a SOCKS 5 proxy"),
        ("socks5", b"\x05\x00\x05\x02\x00\x01" + bytes(6), Refused,
         "does not connect to registry.example:443: the proxy's rules don't allow it"),
        ("socks5", b"\x05\x00\x05\x05\x00\x01" + bytes(6), RetryableError, "connection refused"),
        ("socks5", b"\x05\x00\x05\x77\x00\x01" + bytes(6), RetryableError, "reply 119"),
        ("socks5", b"\x05", RetryableError, "closed the connection without a response"),
    ],
)  # fmt: skip
def test_proxies_that_do_not_connect(
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    reply: bytes,
    error: type[ContentError],
    words: str,
) -> None:
    with RealProxy("127.0.0.1:1", reply=reply) as proxy:
        monkeypatch.setenv("https_proxy", f"{kind}://{proxy.address}")
        with pytest.raises(error, match=words) as caught:
            http.request("GET", "https://registry.example/")
        assert f"the proxy {proxy.address}" in caught.value.message
        assert caught.value.advice


def test_an_answer_may_be_the_proxy_s_own(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n"
    with RealProxy("127.0.0.1:1", reply=reply) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        error = from_response(http.request("GET", "http://registry.example/"), "this")
        words = f"registry.example through the proxy {proxy.address} answered 504"
        assert error.message.startswith(words)


def test_a_proxy_that_is_not_there(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://{address}")
    with pytest.raises(
        RetryableError, match=f"^connection refused by the proxy {address}"
    ) as caught:
        http.request("GET", "https://registry.example/")
    assert caught.value.advice.startswith("check $HTTPS_PROXY")
    monkeypatch.setenv("HTTPS_PROXY", "proxy.invalid:8080")
    with pytest.raises(Refused, match=r"^the proxy proxy\.invalid:8080 can't be resolved"):
        http.request("GET", "https://registry.example/")


def test_a_proxy_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("https_proxy", f"http://{address}")
        with pytest.raises(RetryableError, match=f"timed out: the proxy {address}"):
            Http(Timeouts(0.3, 0.3, 0.3)).request("GET", "https://registry.example/")


@needs_openssl
def test_who_the_proxy_is_gets_checked(
    keys: Path, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--skip-verify is about the registry, not about the proxy that sees a password."""
    with RealProxy("127.0.0.1:1", tls=serving_tls(keys)) as proxy:
        monkeypatch.setenv("https_proxy", f"https://u:p@{proxy.address}")
        with pytest.raises(Refused, match=f"certificate of the proxy {proxy.address} is not tr"):
            http.request("GET", "https://registry.example/", tls=Tls(skip_verify=True))
        assert proxy.asked == []
    with RealProxy("127.0.0.1:1") as proxy:
        monkeypatch.setenv("https_proxy", f"https://{proxy.address}")
        with pytest.raises((Refused, RetryableError), match=f"the proxy {proxy.address}"):
            http.request("GET", "https://registry.example/")


@needs_openssl
def test_the_registry_behind_a_proxy_is_checked(
    keys: Path, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Asked) -> Reply:
        raise AssertionError

    with Secure(keys, HELLO) as server, RealProxy(server.host) as proxy:
        server.reply = never
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        words = f"certificate of registry.example through the proxy {proxy.address} is not trusted"
        with pytest.raises(Refused, match=words):
            http.request("GET", "https://registry.example/", tls=Tls(ca=(str(keys / "ca.crt"),)))
