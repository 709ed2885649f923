"""Credentials that others stored are found, and ours by others: skopeo and docker, one registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from interop_live import unavailable
from registries import DockerRegistry

from contentui.demo.unpackable import make_unpackable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = "me:$2b$04$eB80d0Rp6.vxybojCn.4vuOX0BDZBmcvMB/nijYO4ufgP1WVA4VyK\n"
"""For htpasswd: the password is "hush", by bcrypt."""
OURS = (sys.executable, "-m", "contentui")
LOG_IN = ("login", "--username", "me", "--password-stdin")
IMAGE = make_unpackable(1, [1000])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of a registry that wants a password, with an image ``team/app``."""
    with DockerRegistry(tmp_path_factory.mktemp("guarded") / "registry", users=USERS) as registry:
        registry.push("team/app", IMAGE, account="me:hush")
        yield registry.host


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "run").mkdir()
    usual = {name: value for name, value in os.environ.items() if not name.startswith("CONTENTUI")}
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        usual.pop(name, None)
    return usual | {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def run(env: dict[str, str], *argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which(argv[0])
    if program is None:
        unavailable(f"{argv[0]} is not installed")
    return subprocess.run(
        [program, *argv[1:]],
        input=given,
        capture_output=True,
        text=True,
        env=env,
        cwd=env["HOME"],
        timeout=60,
    )


def ok(env: dict[str, str], *argv: str, given: str = "") -> str:
    done = run(env, *argv, given=given)
    assert done.returncode == 0, done
    return done.stdout


def inspect(env: dict[str, str], host: str, *options: str) -> bool:
    """Whether skopeo may read the image."""
    source = f"docker://{host}/team/app:latest"
    return run(env, "skopeo", "inspect", "--tls-verify=false", *options, source).returncode == 0


def pull(env: dict[str, str], host: str) -> bool:
    """Whether we may pull the image."""
    return run(env, *OURS, "pull", "-q", f"{host}/team/app:latest").returncode == 0


def test_skopeo_s_login_is_found_by_us_and_its_logout_too(
    env: dict[str, str], guarded: str
) -> None:
    assert not pull(env, guarded)
    for place in ("", "run/containers/auth.json", ".config/containers/auth.json",
                  ".docker/config.json"):  # fmt: skip
        options = ("--authfile", place) if place else ()
        ok(env, "skopeo", "login", "--tls-verify=false", *LOG_IN[1:], *options, guarded,
           given="hush")  # fmt: skip
        assert pull(env, guarded), place
        ok(env, "skopeo", "logout", "--tls-verify=false", *options, guarded)
        assert not pull(env, guarded), place


def test_our_login_is_found_by_skopeo_and_its_logout_takes_it_away(
    env: dict[str, str], guarded: str
) -> None:
    ok(env, *OURS, *LOG_IN, guarded, given="hush")
    assert inspect(env, guarded)
    assert pull(env, guarded)
    ok(env, "skopeo", "logout", "--authfile", ".docker/config.json", guarded)
    assert not inspect(env, guarded)
    assert not pull(env, guarded)


def test_we_log_out_what_skopeo_logged_in(env: dict[str, str], guarded: str) -> None:
    ok(env, "skopeo", "login", "--tls-verify=false", *LOG_IN[1:], guarded, given="hush")
    said = ok(env, *OURS, "logout", guarded)
    assert "run/containers/auth.json" in said
    assert not inspect(env, guarded)
    ok(env, *OURS, *LOG_IN, "--authfile", "a.json", guarded, given="hush")
    assert inspect(env, guarded, "--authfile", "a.json")


def test_the_files_of_docker(env: dict[str, str], guarded: str) -> None:
    ok(env, *OURS, *LOG_IN, guarded, given="hush")
    assert "Removing login credentials" in ok(env, "docker", "logout", guarded)
    assert not pull(env, guarded)


def test_a_wrong_password(env: dict[str, str], guarded: str) -> None:
    done = run(env, *OURS, *LOG_IN, guarded, given="wrong")
    assert done.returncode == 1
    assert f"wrong user or password: {guarded}" in done.stderr
    assert not pull(env, guarded)
