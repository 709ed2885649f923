"""Credentials as docker and podman store them: which files, which keys, which come first.

Sources: "docker login" and "credential helpers" in Docker's CLI reference, podman's
``containers-auth.json(5)``, and ``pkg/docker/config`` of containers/image for the order.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from contentui.content.errors import ContentError, FailedPrecondition
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.credential_files import change_file, read_file, section_of
from contentui.remotes.credential_helpers import (
    erase_credentials,
    get_credentials,
    program_of,
    store_credentials,
)
from contentui.remotes.settings import Credentials
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_LEGACY = ".dockercfg"
"""Docker's file before version 1.7: the object ``auths`` alone."""
_DOCKERS = "config.json"
_API = re.compile(r"[^/]+/(?:v[12]/)?")
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


class Stored(NamedTuple):
    """Where `store` put credentials."""

    place: Place
    removed: tuple[Place, ...]
    """Older ones, which would have been used instead."""
    shadow: Place | None
    """Others, which are used instead; None: the stored ones are used."""
    found: bool
    """Whether they are in a file that is looked at, as the environment is now."""


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
    return [os.path.abspath(file) for file in files]


def find_credentials(host: str, repository: str = "") -> Credentials | None:
    """The credentials of this account for a registry; None: it is used anonymously.

    ``repository`` is a path without the host; a file may have credentials for a part of it.

    Raises:
        FailedPrecondition: an invalid file, or a helper that fails.
        PermissionDenied: a file that may not be read.
    """
    for path in config_files():
        if found := _find_in_file(path, host, repository):
            return found
    return None


def _find_in_file(path: str, host: str, repository: str = "") -> Credentials | None:
    """The credentials in one file, or in the helper that it names. Raises as `find_credentials`."""
    config = _config(path)
    keys = list(_keys(host, repository))
    helpers = section_of(config, "credHelpers", path)
    helper_key = next((key for key in keys if key in helpers), None)
    if helper_key is not None and helpers[helper_key] != "":
        return _from_helper(helpers[helper_key], helper_key, path)
    if found := _from_entries(section_of(config, "auths", path), keys, path):
        return found
    # An empty name in credHelpers means: not by credsStore.
    name = config.get("credsStore") if helper_key is None else None
    return _from_helper(name, keys[-1], path) if name else None


def store(host: str, credentials: Credentials, authfile: str = "") -> Stored:
    """Store a user and a password, where they are found the next time.

    That is ``authfile``, else ``$REGISTRY_AUTH_FILE``, else the helper that a file names for the
    host, else the file that has credentials of the host, else docker's. A helper that the file
    names gets them instead of the file, and the file's own are removed.

    Raises:
        ContentError: of the file or the helper.
    """
    files = config_files()
    given = authfile or os.environ.get("REGISTRY_AUTH_FILE", "")
    path = os.path.abspath(given) if given else _usual_file(files, host)
    helper, key = _helper_of(path, host)
    own = _own_key(path, host)
    if helper:
        store_credentials(helper, key, credentials)
        place = Place(path, key, helper)
        if _own_entries(path, host):
            _set_entry(path, host, own, {})
        elif os.path.basename(path) == _DOCKERS:
            with suppress(ContentError):  # docker lists the hosts from here
                _set_entry(path, host, own, {})
    else:
        pair = f"{credentials.username}:{credentials.secret}"
        _set_entry(path, host, own, {"auth": base64.b64encode(pair.encode()).decode()})
        place = Place(path, own)
    before = files[: files.index(path)] if path in files else []
    removed: list[Place] = []
    if helper and not given:
        for earlier in before:
            with suppress(ContentError):  # then it is the shadow
                removed += _remove_entries(earlier, host)
    shadow = next(iter(find_places(host, before, parts=False)), None)
    return Stored(place, tuple(removed), shadow, path in files)


def remove(host: str, authfile: str = "") -> list[Place]:
    """Remove the credentials of a host from ``authfile``, else from the first file that has any.

    Returns the places where they were: none, or those of one file.

    Raises:
        ContentError: of a file or a helper.
    """
    for path in [os.path.abspath(authfile)] if authfile else config_files():
        places = _remove_entries(path, host)
        helper, key = _helper_of(path, host)
        if helper and get_credentials(helper, key):
            erase_credentials(helper, key)
            places.append(Place(path, key, helper))
            if _has_key(path, host):
                with suppress(ContentError):  # docker's mark that it has them
                    _set_entry(path, host, "", None)
        if places:
            return places
    return []


def find_places(host: str, files: Iterable[str], *, parts: bool = True) -> list[Place]:
    """All places in these files that have credentials of a host.

    A file or helper that can't be used is passed over.

    Args:
        host: the registry.
        files: paths.
        parts: those of single repositories of the host count too.
    """
    found: list[Place] = []
    for path in files:
        with suppress(ContentError):
            found += [Place(path, key) for key in _own_entries(path, host, parts=parts)]
            helper, key = _helper_of(path, host)
            if helper and get_credentials(helper, key):
                found.append(Place(path, key, helper))
    return found


def _config(path: str) -> dict[str, Any]:
    config = read_file(path) or {}
    return {"auths": config} if os.path.basename(path) == _LEGACY else config


def _usual_file(files: list[str], host: str) -> str:
    """The file that `store` changes when none is named."""
    usable = [path for path in files if os.path.basename(path) != _LEGACY]
    with_helper = (path for path in usable if _helper_of(path, host)[0])
    with_entry = (path for path in usable if _own_entries(path, host))
    dockers = (path for path in usable if os.path.basename(path) == _DOCKERS)
    for choice in (with_helper, with_entry, dockers):
        if path := next(choice, ""):
            return path
    return usable[0]


def _helper_of(path: str, host: str) -> tuple[str, str]:
    """The helper that a file names for a host, and the key there; empty names without one."""
    config = _config(path)
    helpers = section_of(config, "credHelpers", path)
    keys = list(_keys(host, ""))
    key = next((key for key in keys if key in helpers), None)
    name = config.get("credsStore") if key is None else helpers[key]
    return (name, key or keys[-1]) if isinstance(name, str) and name else ("", "")


def _own_key(path: str, host: str) -> str:
    """The key that the programs whose file it is write: docker finds its hub under one alone."""
    return _HUB_KEY if host == DOCKER_HUB and os.path.basename(path) == _DOCKERS else host


def _own_entries(path: str, host: str, *, parts: bool = False) -> list[str]:
    """The keys of a host in a file's ``auths``, of those that have something."""
    entries = section_of(_config(path), "auths", path)
    return [
        key
        for key, entry in entries.items()
        if entry and (host_of_key(key) == host or (parts and key.startswith(f"{host}/")))
    ]


def _set_entry(path: str, host: str, key: str, entry: dict[str, str] | None) -> None:
    """Replace all entries of a host in a file by one; None: by none."""

    def change(config: dict[str, Any]) -> None:
        entries = config
        if os.path.basename(path) != _LEGACY:
            entries = config["auths"] = section_of(config, "auths", path)
        for stored in [stored for stored in entries if host_of_key(stored) == host]:
            del entries[stored]
        if entry is not None:
            entries[key] = entry

    change_file(path, change)


def _remove_entries(path: str, host: str) -> list[Place]:
    """Remove all entries of a host from a file's ``auths``; returns those that had something."""
    places = [Place(path, key) for key in _own_entries(path, host)]
    if places:
        _set_entry(path, host, "", None)
    return places


def _has_key(path: str, host: str) -> bool:
    """Whether a file's ``auths`` has a key of a host, even if nothing is under it."""
    return any(host_of_key(key) == host for key in section_of(_config(path), "auths", path))


def _keys(host: str, repository: str) -> Iterator[str]:
    """The keys of a registry in the files, specific ones first: podman's may have repositories."""
    host = DOCKER_HUB if host in _HUB_HOSTS else host.lower()
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
    if is_url or _API.fullmatch(key):
        key = (rest if is_url else key).partition("/")[0]
    return DOCKER_HUB if key in _HUB_HOSTS else key


def _from_entries(entries: dict[str, Any], keys: list[str], path: str) -> Credentials | None:
    by_host = {host_of_key(key): key for key in entries}
    for key in keys:
        stored = key if key in entries else by_host.get(key)
        if stored is None:
            continue
        if found := _from_entry(entries[stored], stored, path):
            return found
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


def _from_helper(name: object, key: str, path: str) -> Credentials | None:
    if not isinstance(name, str):
        raise FailedPrecondition(
            f"the name of the credential helper in {visible(path)} is not text",
            advice="correct credHelpers and credsStore",
        )
    return get_credentials(name, key)
