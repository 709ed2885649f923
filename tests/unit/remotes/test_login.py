"""Credentials are tried at a registry, with and without a token server."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest
from answering import Answering, Asked, Reply

from contentui.content.errors import InvalidArgument
from contentui.remotes.errors import Denied, Missing, Refused, Rejected, RetryableError
from contentui.remotes.login import parse_host, try_credentials
from contentui.remotes.settings import Credentials, Settings

ME = Credentials("me", "hush")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example", "registry.example"),
        ("registry.example:5000", "registry.example:5000"),
        ("https://registry.example/", "registry.example"),
        ("http://registry.example:5000/v2/", "registry.example:5000"),
        ("localhost", "localhost"),
        ("LocalHost:5000", "localhost:5000"),
        ("HTTPS://registry.example", "registry.example"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "registry", "q.io/team", "https://q.io/a/v1", "q.io:0", "a b.c", "ftp://q.io", "u@q.io"],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_host(text)
    assert caught.value.advice


def test_who_is_redirected_to_gets_no_password() -> None:
    with Answering(basic) as other:
        there = {"Location": f"{other.url}/v2/"}
        with (
            Answering(lambda _: Reply(307, headers=there)) as server,
            pytest.raises(Refused, match="which asks for credentials"),
        ):
            try_credentials(server.host, ME, Settings())
        assert not any("authorization" in each.headers for each in other.asked)


def basic(asked: Asked) -> Reply:
    if asked.headers.get("authorization") == "Basic bWU6aHVzaA==":
        return Reply()
    return Reply(401, headers={"WWW-Authenticate": "Basic realm=x"})


def test_a_password() -> None:
    with Answering(basic) as server:
        assert try_credentials(server.host, ME, Settings())
        assert [each.path for each in server.asked] == ["/v2/", "/v2/"]
        with pytest.raises(Rejected, match="wrong user or password: ") as caught:
            try_credentials(server.host, Credentials("me", "hushed"), Settings())
    assert f"{server.host} does not accept the ones given for me" in caught.value.message
    assert "hush" not in caught.value.message
    assert "access token" in caught.value.advice


def test_a_token_server() -> None:
    def token(asked: Asked) -> Reply:
        form = parse_qs(asked.body)
        if form.get("password") == ["hush"]:
            return Reply(body=json.dumps({"access_token": "T"}).encode())
        return Reply(401)

    def registry(asked: Asked) -> Reply:
        if asked.headers.get("authorization") == accepted:
            return Reply()
        challenge = f'Bearer realm="{tokens.url}/t",service="s"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    accepted = "Bearer T"
    with Answering(token) as tokens, Answering(registry) as server:
        assert try_credentials(server.host, ME, Settings())
        with pytest.raises(Rejected, match="wrong user or password: "):
            try_credentials(server.host, Credentials("me", "no"), Settings())
        accepted = "Bearer other"
        with pytest.raises(
            Denied, match="does not accept the token that its token server"
        ) as caught:
            try_credentials(server.host, ME, Settings())
        assert not isinstance(caught.value, Rejected)


def test_a_registry_that_asks_for_nothing() -> None:
    with Answering(lambda _: Reply()) as server:
        assert not try_credentials(server.host, ME, Settings())
        assert all("authorization" not in each.headers for each in server.asked)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(404), Refused, r"is not a registry: it has no /v2/"),
        (Reply(403), Denied, "denies access"),
        (Reply(503), RetryableError, "503"),
        (
            Reply(401, headers={"WWW-Authenticate": "Digest realm=x"}),
            Denied,
            "not supported: digest",
        ),
    ],
)
def test_what_is_not_about_the_password(reply: Reply, kind: type[Exception], words: str) -> None:
    with Answering(lambda _: reply) as server, pytest.raises(kind, match=words) as caught:
        try_credentials(server.host, ME, Settings())
    assert not isinstance(caught.value, Rejected | Missing)
