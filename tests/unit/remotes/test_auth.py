from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from answering import Answering, Asked, Reply
from hypothesis import given
from hypothesis import strategies as st

from contentui.content.digest import Digest
from contentui.content.errors import ContentError
from contentui.content.model import Descriptor
from contentui.oci.references import parse_reference
from contentui.remotes.auth import parse_challenges
from contentui.remotes.errors import CHECK_ACCOUNT, Denied, RetryableError
from contentui.remotes.registry import Registry
from contentui.remotes.settings import Credentials, Settings

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"blob" * 100
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        ('bEARER realm="r",SERVICE=s', [("bearer", {"realm": "r", "service": "s"})]),
        (r'Bearer realm="a\"b\\c, Basic x=y"', [("bearer", {"realm": r'a"b\c, Basic x=y'})]),
        (
            'Negotiate, Basic realm=x, Bearer realm="y",scope="a b"',
            [
                ("negotiate", {}),
                ("basic", {"realm": "x"}),
                ("bearer", {"realm": "y", "scope": "a b"}),
            ],
        ),
        ("NTLM TlRM+/A==, Basic realm=x", [("ntlm", {}), ("basic", {"realm": "x"})]),
        ("Bearer realm = x , scope = y", [("bearer", {"realm": "x", "scope": "y"})]),
        ("realm=x", []),
        ('Bearer realm="never ends', [("bearer", {"realm": '"never'})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    if header.endswith("never ends"):
        assert [each.scheme for each in parse_challenges(header)] in ([], ["bearer"])
        return
    assert [(each.scheme, each.parameters) for each in parse_challenges(header)] == expected


@given(st.text(alphabet='Bearer =",\\ \t\nab', max_size=200) | st.text(max_size=200))
def test_any_challenge_is_read_or_left(header: str) -> None:
    parse_challenges(header)


def test_a_long_challenge_takes_no_time() -> None:
    parse_challenges("Basic" + " " * 8000 + "!")
    parse_challenges("a " * 4000)
    parse_challenges('Basic a="' + "\\" * 8000)


class Guarded:
    """A registry that wants tokens, and the server that gives them."""

    def __init__(self, reply: dict[str, object] | None = None) -> None:
        self.tokens = Answering(self.token)
        self.registry = Answering(self.blob)
        self.reply = reply or {}
        self.post_status = 200
        self.valid: set[str] = set()
        self.count = 0

    def token(self, asked: Asked) -> Reply:
        if asked.method == "POST" and self.post_status != 200:
            return Reply(self.post_status)
        self.count += 1
        name = f"T{self.count}"
        self.valid = {f"Bearer {name}"}
        return Reply(body=json.dumps({"token": name, **self.reply}).encode())

    def blob(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") not in self.valid:
            realm = f'Bearer realm="{self.tokens.url}/t?a=b",service="s",scope="x:y:z"'
            return Reply(401, headers={"WWW-Authenticate": realm})
        return Reply(body=DATA)

    def __enter__(self) -> Guarded:
        self.tokens.__enter__()
        self.registry.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.tokens.__exit__()
        self.registry.__exit__()

    def remote(self, credentials: Credentials | None = None) -> Registry:
        settings = Settings(credentials=credentials)
        return Registry(parse_reference(f"{self.registry.host}/a/b:v1"), settings)


def read(remote: Registry) -> bytes:
    with remote.open(BLOB) as body:
        buffer = memoryview(bytearray(1000))
        size = body.readinto(buffer)
        assert body.readinto(buffer[size:]) == 0
    return bytes(buffer[:size])


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of the account that runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_anonymous_tokens_with_all_scopes() -> None:
    with Guarded() as guarded, guarded.remote() as remote:
        assert read(remote) == DATA
        assert read(remote) == DATA
        (asked,) = guarded.tokens.asked
    query = parse_qsl(urlsplit(asked.path).query)
    assert asked.method == "GET"
    assert query == [
        ("a", "b"),
        ("service", "s"),
        ("scope", "repository:a/b:pull"),
        ("scope", "x:y:z"),
    ]
    assert "authorization" not in asked.headers


def test_a_password_is_posted_and_else_sent_as_basic() -> None:
    with Guarded() as guarded, guarded.remote(Credentials("me", "pw")) as remote:
        assert read(remote) == DATA
        form = parse_qs(guarded.tokens.asked[0].body)
    assert form["grant_type"] == ["password"]
    assert form["password"] == ["pw"]
    with Guarded() as guarded, guarded.remote(Credentials("me", "pw")) as remote:
        guarded.post_status = 405
        assert read(remote) == DATA
        assert [each.method for each in guarded.tokens.asked] == ["POST", "GET"]
        assert guarded.tokens.asked[1].headers["authorization"] == "Basic bWU6cHc="
        assert all("pw" not in each.path for each in guarded.tokens.asked)


def test_a_refresh_token_is_exchanged_and_its_rejection_reported() -> None:
    with Guarded() as guarded, guarded.remote(Credentials("", "", "R")) as remote:
        assert read(remote) == DATA
        form = parse_qs(guarded.tokens.asked[0].body)
        assert form["refresh_token"] == ["R"]
    with Guarded() as guarded, guarded.remote(Credentials("", "", "hush")) as remote:
        guarded.post_status = 400
        with pytest.raises(Denied) as caught:
            read(remote)
        assert "hush" not in caught.value.message
        assert "log in" in caught.value.advice


def test_a_token_that_ran_out_is_renewed() -> None:
    with Guarded() as guarded, guarded.remote() as remote:
        read(remote)
        guarded.valid = set()  # as if its time was over for the registry alone
        assert read(remote) == DATA
        assert guarded.count == 2
    with Guarded({"expires_in": 0.001}) as guarded, guarded.remote() as remote:
        read(remote)
        threading.Event().wait(0.01)
        read(remote)
        refused = [each for each in guarded.registry.asked if "authorization" not in each.headers]
        assert len(refused) == 1  # our own clock told


def test_threads_ask_for_one_token_together() -> None:
    with Guarded() as guarded, guarded.remote() as remote:
        threads = [threading.Thread(target=read, args=(remote,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert guarded.count == 1


@pytest.mark.parametrize(
    "reply",
    [
        {"token": ""},
        {"token": 5},
        {"token": "a\nb"},
        {"token": "a\u20ac"},
        {"expires_in": "x"},
        {"expires_in": []},
        {"expires_in": 10**400},
    ],
)
def test_nonsense_of_a_token_server(reply: dict[str, object]) -> None:
    with Guarded(reply) as guarded, guarded.remote() as remote:
        if reply.get("expires_in") == []:
            assert read(remote) == DATA  # as if it said nothing
            return
        with pytest.raises(ContentError, match="issued an invalid token"):
            read(remote)


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        ('Bearer realm="file:///etc/passwd"', "token server is invalid: file:///etc/passwd"),
        ("Bearer service=x", "token server is invalid: .empty."),
        ('Bearer realm="http://[x?p=hush"', "token server is invalid"),
        ("Digest realm=x", "digest"),
        ("Basic realm=x", "requires a user and a password"),
        ("", "nothing"),
    ],
)
def test_challenges_that_cannot_be_met(challenge: str, words: str) -> None:
    headers = {"WWW-Authenticate": challenge}
    with Answering(lambda _: Reply(401, headers=headers)) as server:
        remote = Registry(parse_reference(f"{server.host}/a/b:v1"), Settings())
        with remote, pytest.raises(Denied, match=words) as caught:
            read(remote)
    assert "hush" not in caught.value.message


def test_a_wrong_password_ends_soon() -> None:
    headers = {"WWW-Authenticate": "Basic realm=x"}
    with Answering(lambda _: Reply(401, headers=headers)) as server:
        settings = Settings(credentials=Credentials("me", "hush"))
        remote = Registry(parse_reference(f"{server.host}/a/b:v1"), settings)
        with remote, pytest.raises(Denied) as caught:
            read(remote)
        assert len(server.asked) == 2
    assert caught.value.advice == CHECK_ACCOUNT
    assert "hush" not in caught.value.message
    assert "hush" not in repr(settings)


def test_a_token_servers_rejection_names_the_account() -> None:
    with Guarded() as guarded, guarded.remote(Credentials("me", "hush")) as remote:
        guarded.tokens.reply = lambda _: Reply(401)
        with pytest.raises(Denied, match="rejects the credentials of me") as caught:
            read(remote)
    assert caught.value.advice == CHECK_ACCOUNT
    assert "hush" not in caught.value.message


def test_a_token_server_may_redirect() -> None:
    with Guarded() as guarded, guarded.remote() as remote:
        real = guarded.tokens.reply

        def token(asked: Asked) -> Reply:
            there = {"Location": asked.path.replace("/t?", "/moved?")}
            return real(asked) if "/moved" in asked.path else Reply(301, headers=there)

        guarded.tokens.reply = token
        assert read(remote) == DATA


def test_a_password_is_not_sent_to_where_a_token_server_redirects() -> None:
    with (
        Answering(lambda _: Reply(body=b'{"token":"x"}')) as other,
        Guarded() as guarded,
        guarded.remote(Credentials("me", "hush")) as remote,
    ):
        there = {"Location": f"{other.url}/t"}
        guarded.tokens.reply = lambda _: Reply(307, headers=there)
        with pytest.raises(ContentError, match="redirects credentials to another host"):
            read(remote)
        assert other.asked == []


def test_a_signed_url_that_expired_is_fetched_anew_more_than_once() -> None:
    denied = iter([403, 403, 401, 403])

    def store(_: Asked) -> Reply:
        status = next(denied, 200)
        return Reply(status, body=DATA if status == 200 else b"<Error><Code>Expired</Code></Error>")

    with Answering(store) as storage, Guarded() as guarded:
        real = guarded.registry.reply

        def blob(asked: Asked) -> Reply:
            answer = real(asked)
            there = {"Location": f"{storage.url}/x?sig=s"}
            return answer if answer.status == 401 else Reply(307, headers=there)

        guarded.registry.reply = blob
        with guarded.remote() as remote:
            for _ in range(4):
                with pytest.raises(RetryableError, match="where the registry redirected to"):
                    read(remote)
            assert read(remote) == DATA


def test_a_redirects_host_gets_no_token() -> None:
    with Answering(lambda _: Reply(body=DATA)) as storage, Guarded() as guarded:
        real = guarded.registry.reply

        def blob(asked: Asked) -> Reply:
            answer = real(asked)
            there = {"Location": f"{storage.url}/x?sig=s"}
            return answer if answer.status == 401 else Reply(307, headers=there)

        guarded.registry.reply = blob
        with guarded.remote() as remote:
            assert read(remote) == DATA
        assert "authorization" not in storage.asked[0].headers


def test_https_does_not_ask_for_tokens_over_http() -> None:
    from contentui.remotes.auth import Authorizer
    from contentui.remotes.http import Http
    from contentui.remotes.settings import Host

    headers = {"WWW-Authenticate": 'Bearer realm="http://h/t"'}
    with Answering(lambda _: Reply(401, headers=headers)) as server:
        http = Http()
        authorizer = Authorizer(http, Host("https", server.host), lambda: None)
        with pytest.raises(Denied, match="without TLS"):
            authorizer.respond(http.request("GET", server.url), "s", None)
        http.close()
