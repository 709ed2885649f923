from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contentui.content.errors import ContentError, FailedPrecondition, PermissionDenied
from contentui.remotes import credential_helpers, credentials
from contentui.remotes.credentials import (
    config_files,
    find_credentials,
    find_places,
    remove,
    store,
)
from contentui.remotes.settings import Credentials

if TYPE_CHECKING:
    from pathlib import Path


def encoded(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
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
        ({"q.io": None}, "q.io", "", None),
        ({"q.io": encoded("a:")}, "q.io", "", None),
        ({"q.io": {"auth": "YTpi\n"}}, "q.io", "", Credentials("a", "b")),
        ({"q.io/": encoded("a:b")}, "q.io", "t", Credentials("a", "b")),
        ({"q.io/v2/": encoded("a:b")}, "q.io", "t", Credentials("a", "b")),
        ({"q.io/team/": encoded("a:b")}, "q.io", "t", None),
        ({"http://q.io/v1/x": encoded("a:b")}, "q.io", "t", Credentials("a", "b")),
        ({"q.io/t/v1": encoded("a:b")}, "q.io", "t/w", None),
        ({"q.io/t/v1": encoded("a:b")}, "q.io", "t/v1/w", Credentials("a", "b")),
        (
            {"http://q.io": encoded("a:1"), "q.io": encoded("a:2")},
            "q.io",
            "",
            Credentials("a", "2"),
        ),
        ({"registry-1.docker.io": encoded("a:b")}, "docker.io", "x", Credentials("a", "b")),
        ({"docker.io": encoded("a:b")}, "registry-1.docker.io", "x", Credentials("a", "b")),
        ({"docker.io/me": encoded("a:b")}, "docker.io", "me/x", Credentials("a", "b")),
        (None, "q.io", "", None),
    ],
)
def test_stored(
    home: Path, auths: object, host: str, repository: str, expected: Credentials | None
) -> None:
    write_config(home, {"auths": auths})
    assert find_credentials(host, repository) == expected


@pytest.mark.parametrize("config", ["", " \n", "{}", '{"auths": null}'])
def test_files_without_anything(home: Path, config: str) -> None:
    write_config(home, config)
    assert find_credentials("q.io") is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"auths": \n hush}', r"is not valid JSON \(line 2, column 2\)"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"auths": []}', 'has "auths", which is not a JSON object'),
        ('{"credHelpers": "hush"}', 'has "credHelpers", which is not a JSON object'),
        ('{"credsStore": 5}', "the name of the credential helper in .* is not text"),
        ('{"auths":{"q.io":5}}', "credentials of q.io in .* can't be decoded"),
        ('{"auths":{"q.io":{"auth":"%%"}}}', "credentials of q.io in .* can't be decoded"),
        ('{"auths":{"q.io":{"auth":"\u00e9"}}}', "credentials of q.io in .* can't be decoded"),
        ('{"auths":{"q.io":{"auth":"aHVzaA=="}}}', "credentials of q.io in .* can't be decoded"),
        ('{"auths":{"q.io":{"username":1}}}', "credentials of q.io in .* can't be decoded"),
        (" " * (4 << 20) + "{}", "is larger than 4 MiB"),
    ],
    ids=lambda text: text[:30],
)
def test_files_that_make_no_sense(home: Path, config: str, words: str) -> None:
    write_config(home, config)
    with pytest.raises(FailedPrecondition, match=words) as caught:
        find_credentials("q.io")
    assert str(home / ".docker/config.json") in caught.value.message
    assert "hush" not in caught.value.message
    assert caught.value.advice


def test_what_is_wrong_with_another_registry_is_no_failure(home: Path) -> None:
    write_config(home, {"auths": {"other.io": 5, "q.io": encoded("a:b")}})
    assert find_credentials("q.io") == Credentials("a", "b")


NAMES = st.sampled_from(
    ["auths", "credHelpers", "credsStore", "q.io", "q.io/a", "https://q.io/v1/", "auth", "username",
     "password", "identitytoken", "", "/", "://"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES | st.text(max_size=4) | st.just("YTpi"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(config=st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_file_is_read_or_refused(home: Path, config: dict[str, Any]) -> None:
    write_config(home, config)
    path = str(home / ".docker/config.json")
    for use in (
        lambda: find_credentials("q.io", "a/b"),
        lambda: find_places("q.io", [path]),
        lambda: store("q.io", Credentials("a", "b"), path),
        lambda: remove("q.io", path),
    ):
        with suppress(ContentError):
            use()


def test_a_pipe_in_place_of_a_file_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / ".docker/config.json")
    with pytest.raises(FailedPrecondition, match="is not a regular file"):
        find_credentials("q.io")


def test_a_file_that_may_not_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("contentui.remotes.credential_files.os.open", refuse)
    with pytest.raises(PermissionDenied, match=r"auth\.json may not be read"):
        find_credentials("q.io")
    del home


def test_the_order_of_the_files_is_that_of_podman() -> None:
    uid = os.getuid()
    home = {"HOME": "/h"}
    rest = ["/h/.config/containers/auth.json", "/h/.docker/config.json", "/h/.dockercfg"]
    assert config_files(home) == [f"/run/containers/{uid}/auth.json", *rest]
    assert config_files({**home, "XDG_RUNTIME_DIR": "/r"}) == ["/r/containers/auth.json", *rest]
    both = {"XDG_RUNTIME_DIR": "/r", "REGISTRY_AUTH_FILE": "/a"}
    assert config_files({**home, **both}) == ["/a", *rest]
    moved = {"XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert config_files({**home, **moved}) == [
        "/r/containers/auth.json",
        "/c/containers/auth.json",
        "/d/config.json",
        "/h/.dockercfg",
    ]
    assert config_files({}) == [f"/run/containers/{uid}/auth.json"]


def test_the_first_file_with_credentials_of_the_host_counts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_RUN", str(home / "perhaps"))
    places = [
        home / ".dockercfg",
        home / ".docker/config.json",
        home / ".config/containers/auth.json",
        home / "run/containers/auth.json",
        home / "explicit.json",
    ]
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(places[-1]))
    for count, place in enumerate(places):
        if place == places[-2]:
            monkeypatch.delenv("REGISTRY_AUTH_FILE")
        if place == places[-1]:
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(place))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"auths": {"other.io": encoded("x:y")}}))
        auths = {"q.io": encoded(f"me:{count}")}
        place.write_text(json.dumps(auths if place.name == ".dockercfg" else {"auths": auths}))
        assert find_credentials("q.io") == Credentials("me", str(count)), place
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    per_user = home / "perhaps" / str(os.getuid()) / "auth.json"
    per_user.parent.mkdir(parents=True)
    per_user.write_text(json.dumps({"auths": {"q.io": encoded("me:run")}}))
    assert find_credentials("q.io") == Credentials("me", "run")


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
        ("exec sleep 9", "did not respond within 0.5s"),
        ("exit 3", "test failed: exit code 3"),
        ('echo \'{"Username":1,"Secret":"hush"}\'', "returned an invalid response"),
        ("exec yes hush", "printed more than 1 MiB"),
        ("exec yes hush >&2", "printed more than 1 MiB"),
    ],
)
def test_helpers_that_fail(
    home: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(credential_helpers, "_WAIT_S", 0.5)
    write_config(home, {"credsStore": "test"})
    helper(home, script)
    with pytest.raises(FailedPrecondition, match=words) as caught:
        find_credentials("q.io")
    assert caught.value.message.isprintable()
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("name", ["none-such", "../../bin/sh", "a b", "-x"])
def test_helpers_that_are_not_there(home: Path, name: str) -> None:
    write_config(home, {"credHelpers": {"q.io": name}})
    with pytest.raises(ContentError, match=r"not installed|is not the name of"):
        find_credentials("q.io")


def test_a_helper_of_one_host_comes_before_the_entries_and_the_store_after(home: Path) -> None:
    helper(home, 'read k; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"for $k\\"}"')
    auths = {"q.io": encoded("a:b")}
    write_config(home, {"auths": auths, "credHelpers": {"q.io": "test"}})
    assert find_credentials("q.io") == Credentials("u", "for q.io")
    write_config(home, {"auths": auths, "credsStore": "test"})
    assert find_credentials("q.io") == Credentials("a", "b")
    write_config(home, {"auths": {"q.io": {}}, "credsStore": "test"})
    assert find_credentials("q.io") == Credentials("u", "for q.io")
    write_config(home, {"auths": {}, "credsStore": "test", "credHelpers": {"q.io": ""}})
    assert find_credentials("q.io") is None


@pytest.mark.parametrize("key", ["docker.io", "index.docker.io", "https://index.docker.io/v1/"])
def test_helpers_of_docker_hub_by_each_of_its_names(home: Path, key: str) -> None:
    helper(home, 'read k; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"for $k\\"}"')
    write_config(home, {"credHelpers": {key: "test"}})
    assert find_credentials("docker.io", "library/x") == Credentials("u", f"for {key}")
    write_config(home, {"credsStore": "test"})
    hub = Credentials("u", "for https://index.docker.io/v1/")
    assert find_credentials("docker.io", "library/x") == hub
