"""Credentials as docker and podman store them: which files, which keys, which come first.

Sources: "docker login" and "credential helpers" in Docker's CLI reference, podman's
``containers-auth.json(5)``, and ``pkg/docker/config`` of containers/image for the order.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import FailedPrecondition
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.credential_files import read_file, section_of
from contentui.remotes.credential_helpers import get_credentials, program_of
from contentui.remotes.settings import Credentials
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_LEGACY = ".dockercfg"
"""Docker's file before version 1.7: the object ``auths`` alone."""
_RUN = "/run/containers"


class Place(NamedTuple):
    """Where credentials are stored."""

    file: str
    """The file that has them, or that names the helper."""
    key: str
    """Their key in the file, or for the helper."""
    helper: str = ""
    """The helper's name; empty: they are in the file."""

    def __str__(self) -> str:
        """For messages."""
        if self.helper:
            return f"the credential helper {visible(program_of(self.helper))}"
        return visible(self.file)


class Found(NamedTuple):
    """Credentials, and where they are stored."""

    credentials: Credentials
    place: Place


def config_files(environment: Mapping[str, str] | None = None) -> list[str]:
    """The files that may have credentials, in the order in which they are looked at.

    The order is that of containers/image: the file that its login writes to
    (``$REGISTRY_AUTH_FILE``, else ``$XDG_RUNTIME_DIR/containers/auth.json``, else the user's below
    ``/run/containers``), the one in the user's configuration, then docker's.
    """
    env = os.environ if environment is None else environment
    home = env.get("HOME", "")
    runtime = env.get("XDG_RUNTIME_DIR")
    config = env.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    docker = env.get("DOCKER_CONFIG") or (home and os.path.join(home, ".docker"))
    files = [
        env.get("REGISTRY_AUTH_FILE")
        or (os.path.join(runtime, "containers/auth.json") if runtime else "")
        or f"{_RUN}/{os.getuid()}/auth.json"
    ]
    if config:
        files.append(os.path.join(config, "containers/auth.json"))
    if docker:
        files.append(os.path.join(docker, "config.json"))
    if home:
        files.append(os.path.join(home, _LEGACY))
    return files


def find_credentials(host: str, repository: str = "") -> Credentials | None:
    """The credentials of this account for a registry; None: it is used anonymously.

    ``repository`` is a path without the host; a file may have credentials for a part of it.

    Raises:
        FailedPrecondition: an invalid file, or a helper that fails.
        PermissionDenied: a file that may not be read.
    """
    for path in config_files():
        if found := find_in_file(path, host, repository):
            return found.credentials
    return None


def find_in_file(path: str, host: str, repository: str = "") -> Found | None:
    """The credentials in one file, or in the helper that it names. Raises as `find_credentials`."""
    config = read_file(path)
    if config is None:
        return None
    if os.path.basename(path) == _LEGACY:
        config = {"auths": config}
    keys = list(_keys(host, repository))
    helpers = section_of(config, "credHelpers", path)
    helper_key = next((key for key in keys if key in helpers), None)
    if helper_key is not None and helpers[helper_key] != "":
        return _from_helper(helpers[helper_key], helper_key, path)
    if found := _from_entries(section_of(config, "auths", path), keys, path):
        return found
    # An empty name in credHelpers means: not by credsStore.
    store = config.get("credsStore")
    return _from_helper(store, keys[-1], path) if store and helper_key is None else None


def _keys(host: str, repository: str) -> Iterator[str]:
    """The keys of a registry in the files, specific ones first: podman's may have repositories."""
    host = DOCKER_HUB if host in _HUB_HOSTS else host
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))
    yield host
    if host == DOCKER_HUB:
        yield "index.docker.io"
        yield _HUB_KEY


def host_of_key(key: str) -> str:
    """The host that a key means as a whole; the key itself if it has a repository."""
    scheme, mark, rest = key.partition("://")
    is_url = bool(mark) and scheme in ("http", "https")
    # Docker once stored the URLs of its old API.
    if is_url or (key.endswith("/") and key.count("/") <= 2):
        key = (rest if is_url else key).partition("/")[0]
    return DOCKER_HUB if key in _HUB_HOSTS else key


def _from_entries(entries: dict[str, Any], keys: list[str], path: str) -> Found | None:
    by_host = {host_of_key(key): key for key in entries}
    for key in keys:
        stored = key if key in entries else by_host.get(key)
        if stored is None:
            continue
        if found := _from_entry(entries[stored], stored, path):
            return Found(found, Place(path, stored))
    return None


def _from_entry(entry: object, key: str, path: str) -> Credentials | None:
    """The credentials of one key; None: it has none, or an empty password."""
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise _undecodable(key, path)
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials("", "", token)
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            raw = base64.b64decode("".join(auth.split()), validate=True)
            user, colon, secret = raw.decode().partition(":")
        except ValueError:
            raise _undecodable(key, path) from None
        if not colon:
            raise _undecodable(key, path)
        secret = secret.strip("\0")
    else:
        user, secret = entry.get("username") or "", entry.get("password") or ""
        if not isinstance(user, str) or not isinstance(secret, str):
            raise _undecodable(key, path)
    return Credentials(user, secret) if user and secret else None


def _undecodable(key: str, path: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the credentials of {visible(key, 200)} in {visible(path)} can't be decoded",
        advice="log in to it again",
    )


def _from_helper(name: object, key: str, path: str) -> Found | None:
    if not isinstance(name, str):
        raise FailedPrecondition(
            f"the name of the credential helper in {visible(path)} is not text",
            advice="correct credHelpers and credsStore",
        )
    found = get_credentials(name, key)
    return Found(found, Place(path, key, name)) if found else None
