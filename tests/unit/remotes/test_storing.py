"""Storing and removing credentials, in files and helpers."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from contentui.content.errors import (
    ContentError,
    FailedPrecondition,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from contentui.remotes import credential_files
from contentui.remotes.credential_files import change_file
from contentui.remotes.credentials import (
    Place,
    config_files,
    find_credentials,
    find_places,
    remove,
    store,
)
from contentui.remotes.settings import Credentials

if TYPE_CHECKING:
    from pathlib import Path

ME = Credentials("me", "hush:\u00e9")
OTHER = {"auth": base64.b64encode(b"other:old").decode()}
HELPER = """#!/usr/bin/env python3
import json, os, sys
path = os.path.join(os.path.dirname(__file__), "kept.json")
kept = json.load(open(path)) if os.path.exists(path) else {}
sent = sys.stdin.read()
verb = sys.argv[1]
if verb == "store":
    record = json.loads(sent)
    kept[record["ServerURL"]] = record
elif sent not in kept:
    sys.exit(print("credentials not found in native keychain") or 1)
elif verb == "get":
    print(json.dumps(kept[sent]))
elif verb == "erase":
    del kept[sent]
json.dump(kept, open(path, "w"))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/docker-credential-test"
    program.write_text(HELPER.replace("/usr/bin/env python3", sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def write(path: Path, config: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_first_login_goes_into_docker_s_file(home: Path) -> None:
    file = home / ".docker/config.json"
    assert store("q.io", ME).place == Place(str(file), "q.io")
    assert find_credentials("q.io", "team/app") == ME
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(file.parent) == ["config.json"]


def test_what_it_does_not_know_is_kept(home: Path) -> None:
    file = write(
        home / ".docker/config.json",
        {"psFormat": "x\ud800", "auths": {"r.io": OTHER, "https://q.io/v2/": OTHER}, "n": [1, 1.5]},
    )
    file.chmod(0o644)
    assert store("q.io", ME).shadow is None
    found = read(file)
    assert found["psFormat"] == "x\ud800"
    assert found["n"] == [1, 1.5]
    assert list(found) == ["psFormat", "auths", "n"]
    assert set(found["auths"]) == {"r.io", "q.io"}
    assert found["auths"]["r.io"] == OTHER
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_goes_where_the_host_s_credentials_are(home: Path) -> None:
    write(home / ".docker/config.json", {"auths": {}})
    podmans = write(home / "run/containers/auth.json", {"auths": {"q.io": OTHER}})
    assert store("q.io", ME).place.file == str(podmans)
    assert find_credentials("q.io") == ME


def test_a_file_that_is_named_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podmans = write(home / "run/containers/auth.json", {"auths": {"q.io": OTHER}})
    stored = store("q.io", ME, str(home / "a.json"))
    assert stored.place == Place(str(home / "a.json"), "q.io")
    assert not stored.found
    stored = store("q.io", ME, str(home / ".docker/config.json"))
    assert stored.found
    assert stored.shadow == Place(str(podmans), "q.io")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "b.json"))
    stored = store("q.io", ME)
    assert stored.place.file == str(home / "b.json")
    assert stored.shadow is None
    assert stored.found


@pytest.mark.parametrize(
    ("name", "key"),
    [("config.json", "https://index.docker.io/v1/"), ("auth.json", "docker.io")],
)
def test_docker_hub_s_key_is_that_of_the_file_s_program(home: Path, name: str, key: str) -> None:
    file = write(home / name, {"auths": {"index.docker.io": OTHER, "docker.io/me": OTHER}})
    store("docker.io", ME, str(file))
    assert set(read(file)["auths"]) == {key, "docker.io/me"}
    assert remove("docker.io", str(file)) == [Place(str(file), key)]
    assert set(read(file)["auths"]) == {"docker.io/me"}


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {"q.io": "test"}}])
def test_a_helper_gets_them_and_the_files_lose_theirs(home: Path, config: dict[str, Any]) -> None:
    dockers = write(home / ".docker/config.json", {**config, "auths": {"q.io": OTHER}})
    podmans = write(home / "run/containers/auth.json", {"auths": {"q.io": OTHER, "r.io": OTHER}})
    stored = store("q.io", ME)
    assert stored.place == Place(str(dockers), "q.io", "test")
    assert stored.removed == (Place(str(podmans), "q.io"),)
    assert stored.shadow is None
    assert find_credentials("q.io") == ME
    assert read(dockers) == {**config, "auths": {"q.io": {}}}
    assert read(podmans) == {"auths": {"r.io": OTHER}}
    assert remove("q.io") == [Place(str(dockers), "q.io", "test")]
    assert read(home / "bin/kept.json") == {}
    assert read(dockers) == {**config, "auths": {}}
    assert find_credentials("q.io") is None


def test_a_helper_that_fails_stores_nothing_in_a_file(home: Path) -> None:
    file = write(home / ".docker/config.json", {"credsStore": "test", "auths": {"q.io": OTHER}})
    (home / "bin/docker-credential-test").write_text("#!/bin/sh\necho locked; exit 1\n")
    with pytest.raises(FailedPrecondition, match="docker-credential-test failed: locked"):
        store("q.io", ME)
    assert read(file)["auths"] == {"q.io": OTHER}


def test_a_helper_that_does_not_read_is_not_waited_for(home: Path) -> None:
    write(home / ".docker/config.json", {"credsStore": "test"})
    (home / "bin/docker-credential-test").write_text("#!/bin/sh\nexit 0\n")
    assert store("q.io", Credentials("me", "x" * 300_000)).place.helper == "test"


def test_a_logout_is_of_the_first_file_and_the_others_are_found(home: Path) -> None:
    podmans = write(home / "run/containers/auth.json", {"auths": {"q.io": OTHER}})
    dockers = write(
        home / ".docker/config.json", {"auths": {"https://q.io/v1/": OTHER, "q.io/t": OTHER}}
    )
    old = write(home / ".dockercfg", {"q.io": OTHER, "r.io": OTHER})
    write(home / ".config/containers/auth.json", [])  # no obstacle
    # A logout takes what is in the file away even if its helper is not there.
    other = write(home / "other.json", {"credsStore": "none-such", "auths": {"q.io": OTHER}})
    with pytest.raises(FailedPrecondition, match="docker-credential-none-such is not installed"):
        remove("q.io", str(other))
    assert read(other)["auths"] == {}
    assert remove("q.io") == [Place(str(podmans), "q.io")]
    assert find_places("q.io", config_files()) == [
        Place(str(dockers), "https://q.io/v1/"),
        Place(str(dockers), "q.io/t"),
        Place(str(old), "q.io"),
    ]
    assert remove("q.io", str(old))
    assert read(old) == {"r.io": OTHER}
    (home / ".config/containers/auth.json").unlink()
    assert remove("q.io")
    assert read(dockers) == {"auths": {"q.io/t": OTHER}}
    assert remove("q.io") == []


def test_a_broken_entry_can_be_replaced_and_removed(home: Path) -> None:
    file = write(home / ".docker/config.json", {"auths": {"q.io": {"auth": "%"}}})
    assert store("q.io", ME).place.file == str(file)
    assert find_credentials("q.io") == ME
    write(file, {"auths": {"q.io": 5}})
    assert remove("q.io") == [Place(str(file), "q.io")]


def test_a_device_is_not_replaced(home: Path) -> None:
    """``REGISTRY_AUTH_FILE=/dev/null`` turns credentials off, also for root."""
    node = home / "node"
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device")
    with pytest.raises(FailedPrecondition, match="is not a regular file"):
        store("q.io", Credentials("me", "pw"), str(node))
    assert stat.S_ISCHR(node.stat().st_mode)


def test_what_a_killed_login_left_is_removed(home: Path) -> None:
    (home / ".docker").mkdir()
    left = home / ".docker/.config.json.0123456789abcdef"
    other = home / ".docker/.config.json.swp"
    left.write_text("secret")
    other.write_text("of an editor")
    store("q.io", Credentials("me", "pw"))
    assert not left.exists()
    assert other.exists()


def test_a_helper_s_output_is_not_repeated(home: Path) -> None:
    script = home / "bin/docker-credential-echo"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\ncat; cat >&2; exit 1\n")
    script.chmod(0o755)
    write(home / ".docker/config.json", {"credsStore": "echo"})
    with pytest.raises(FailedPrecondition) as caught:
        store("q.io", Credentials("me", "hush"))
    assert "hush" not in f"{caught.value.message}{caught.value.advice}"


def test_a_link_stays(home: Path) -> None:
    real = write(home / "elsewhere/real.json", {"auths": {}})
    (home / ".docker").mkdir()
    link = home / ".docker/config.json"
    link.symlink_to("../elsewhere/real.json")
    store("q.io", ME)
    assert link.is_symlink()
    assert "q.io" in read(real)["auths"]
    real.unlink()
    store("q.io", ME)
    assert "q.io" in read(real)["auths"]


def test_the_file_of_another_user_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(home / ".docker/config.json", {"auths": {}})
    before = file.read_text()
    monkeypatch.setattr(credential_files.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionDenied, match=r"config\.json belongs to the user with the id"):
        store("q.io", ME)
    assert file.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_root_makes_no_files_for_others(home: Path) -> None:
    docker = home / ".docker"
    docker.mkdir()
    os.chown(docker, 12345, 12345)
    with pytest.raises(PermissionDenied, match=r"\.docker belongs to the user with the id 12345"):
        store("q.io", ME)
    docker.rmdir()
    os.chown(home, 12345, 12345)
    with pytest.raises(PermissionDenied, match="belongs to the user with the id 12345"):
        store("q.io", ME)
    os.chown(home, 0, 0)
    (home / "link").symlink_to(home / "target")
    os.chown(home / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(PermissionDenied, match="link belongs to the user with the id 12345"):
        store("q.io", ME, str(home / "link"))
    assert not (home / "target").exists()


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [
        ("fsync", 28, ResourceExhausted),
        ("replace", 13, PermissionDenied),
        ("open", 30, ContentError),
    ],
)
def test_a_file_that_cannot_be_written_is_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: int, kind: type[ContentError]
) -> None:
    file = write(home / ".docker/config.json", {"auths": {"r.io": OTHER}})
    before = file.read_text()
    real = getattr(os, call)

    def fail(*args: Any, **options: Any) -> Any:
        if call == "open" and not options:
            return real(*args)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(credential_files.os, call, fail)
    with pytest.raises(kind, match=f"config.json: {os.strerror(error)}") as caught:
        store("q.io", ME)
    monkeypatch.undo()
    assert "--authfile" in caught.value.advice
    assert file.read_text() == before
    assert os.listdir(file.parent) == ["config.json"]


def test_a_file_that_makes_no_sense_is_not_replaced(home: Path) -> None:
    file = home / "auth.json"
    for text in ("{", "[]", '{"auths": 1}'):
        file.write_text(text)
        with pytest.raises(FailedPrecondition):
            store("q.io", ME, str(file))
        assert file.read_text() == text


def test_many_at_once_lose_nothing(home: Path) -> None:
    file = home / "auth.json"
    script = (
        "import sys; from contentui.remotes.credentials import store;"
        "from contentui.remotes.settings import Credentials;"
        "[store(f'h{sys.argv[1]}-{n}.io', Credentials('u', 'p'), sys.argv[2]) for n in range(8)]"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(number), str(file)])
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(read(file)["auths"]) == 32


def test_a_lock_is_not_waited_for_without_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(credential_files, "_LOCK_WAIT_S", 0.1)
    fd = os.open(home, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(Unavailable, match="holds the lock"):
        change_file(str(home / "auth.json"), dict.clear)
    os.close(fd)
