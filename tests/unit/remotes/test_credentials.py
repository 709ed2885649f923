from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from contentui.content.errors import ContentError, FailedPrecondition
from contentui.remotes import credentials
from contentui.remotes.credentials import find_credentials
from contentui.remotes.settings import Credentials

if TYPE_CHECKING:
    from pathlib import Path


def encoded(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / ".docker").mkdir()
    return tmp_path


def write_config(home: Path, config: dict[str, Any] | str) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    (home / ".docker/config.json").write_text(text)


def helper(home: Path, script: str) -> None:
    program = home / "bin/docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("auths", "host", "repository", "expected"),
    [
        ({"q.io": encoded("a:b:c")}, "q.io", "", Credentials("a", "b:c")),
        ({"https://q.io/v2/": encoded("a:b")}, "q.io", "", Credentials("a", "b")),
        ({"q.io": encoded("a:b\0\0")}, "q.io", "", Credentials("a", "b")),
        ({"q.io": {"username": "u", "password": "p"}}, "q.io", "", Credentials("u", "p")),
        ({"q.io": {**encoded("a:b"), "identitytoken": "T"}}, "q.io", "", Credentials("", "", "T")),
        ({"https://index.docker.io/v1/": encoded("a:b")}, "docker.io", "x", Credentials("a", "b")),
        ({"index.docker.io": encoded("a:b")}, "docker.io", "x", Credentials("a", "b")),
        ({"docker.io": encoded("a:b")}, "docker.io", "x", Credentials("a", "b")),
        (
            {"q.io": encoded("a:1"), "q.io/t": encoded("a:2"), "q.io/t/w": encoded("a:3")},
            "q.io",
            "t/other",
            Credentials("a", "2"),
        ),
        ({"q.io": encoded("a:b")}, "q.io:5000", "", None),
        ({"q.io": encoded("a:b")}, "evil-q.io", "", None),
        ({"q.io": {}}, "q.io", "", None),
        ({"q.io": 5}, "q.io", "", None),
        ([], "q.io", "", None),
    ],
)
def test_stored(
    home: Path, auths: object, host: str, repository: str, expected: Credentials | None
) -> None:
    write_config(home, {"auths": auths})
    assert find_credentials(host, repository) == expected


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"auths": null}'])
def test_files_without_anything(home: Path, config: str) -> None:
    write_config(home, config)
    assert find_credentials("q.io") is None


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[" * 100_000,
        '{"auths":{"q.io":{"auth":"%%"}}}',
        '{"auths":{"q.io":{"auth":"\u00e9"}}}',
    ],
)
def test_files_that_make_no_sense(home: Path, config: str) -> None:
    write_config(home, config)
    with pytest.raises(FailedPrecondition, match=r"log in again|decoded|JSON"):
        find_credentials("q.io")


def test_no_home_is_no_failure(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    assert find_credentials("q.io") is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/dev/null")
    assert find_credentials("q.io") is None
    del home


@pytest.mark.parametrize("config", [{"credHelpers": {"q.io": "test"}}, {"credsStore": "test"}])
def test_helpers(home: Path, config: dict[str, Any]) -> None:
    write_config(home, config)
    helper(home, 'read k; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"for $k\\"}"')
    assert find_credentials("q.io") == Credentials("u", "for q.io")
    helper(home, 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"T\\"}"')
    assert find_credentials("q.io") == Credentials("", "", "T")
    helper(home, "echo credentials not found in native keychain; exit 1")
    assert find_credentials("q.io") is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("printf 'locked\\033[31m'; exit 1", "test failed: locked"),
        ("echo hush", "returned an invalid response"),
        ("echo []", "returned an invalid response"),
        ("exec sleep 9", "does not respond"),
    ],
)
def test_helpers_that_fail(
    home: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(credentials, "_HELPER_WAIT_S", 0.5)
    write_config(home, {"credsStore": "test"})
    helper(home, script)
    with pytest.raises(FailedPrecondition, match=words) as caught:
        find_credentials("q.io")
    assert caught.value.message.isprintable()
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("name", ["none-such", "../../bin/sh", "a b", "-x"])
def test_helpers_that_are_not_there(home: Path, name: str) -> None:
    write_config(home, {"credHelpers": {"q.io": name}})
    with pytest.raises(ContentError, match=r"not installed|invalid name"):
        find_credentials("q.io")
