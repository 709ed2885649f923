"""Credentials as docker and podman store them: in files, or in credential helpers.

Sources: "docker login" and "credential helpers" in Docker's CLI reference, podman's
``containers-auth.json(5)``.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

from contentui.content.errors import FailedPrecondition, PermissionDenied
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.settings import Credentials
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_NAME = "index.docker.io"
_MAX_FILE = 4 << 20
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_WAIT_S = 30
_TOKEN_USER = "<token>"  # noqa: S105 - replaces a user's name


def config_files(environment: Mapping[str, str] | None = None) -> list[str]:
    """The files that may have credentials, the more specific ones first."""
    env = os.environ if environment is None else environment
    files = [env.get("REGISTRY_AUTH_FILE", "")]
    if env.get("XDG_RUNTIME_DIR"):
        files.append(os.path.join(env["XDG_RUNTIME_DIR"], "containers/auth.json"))
    home = env.get("HOME", "")
    docker = env.get("DOCKER_CONFIG") or (os.path.join(home, ".docker") if home else "")
    if docker:
        files.append(os.path.join(docker, "config.json"))
    return [file for file in files if file]


def find_credentials(host: str, repository: str = "") -> Credentials | None:
    """The credentials of this account for a registry; None: it is used anonymously.

    Raises:
        FailedPrecondition: an invalid file, or a helper that fails.
        PermissionDenied: a file that may not be read.
    """
    for path in config_files():
        config = _read(path)
        if config is not None and (found := _in_config(config, host, repository, path)):
            return found
    return None


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read(_MAX_FILE) or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise PermissionDenied(
            f"permission denied: {visible(path)}",
            advice="it has the credentials of registries: make it readable, or use --user",
        ) from None
    except (OSError, ValueError, RecursionError):
        raise FailedPrecondition(
            f"{visible(path)} can't be read as JSON", advice="repair it, or log in again"
        ) from None
    return config if isinstance(config, dict) else None


def _in_config(config: dict[str, Any], host: str, repository: str, path: str) -> Credentials | None:
    keys = list(_keys(host, repository))
    helpers = config.get("credHelpers")
    for key in keys:
        if isinstance(helpers, dict) and isinstance(helpers.get(key), str):
            return _from_helper(helpers[key], key)
    entries = config.get("auths")
    by_key = {_plain(str(k)): v for k, v in entries.items()} if isinstance(entries, dict) else {}
    for key in keys:
        entry = by_key.get(_plain(key))
        if isinstance(entry, dict) and (found := _from_entry(entry, path)):
            return found
    store = config.get("credsStore")
    if isinstance(store, str) and store:
        return _from_helper(store, keys[-1])
    return None


def _keys(host: str, repository: str) -> Iterator[str]:
    """The keys of a registry in the files, specific ones first: podman's may have repositories."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join((host, *parts[:count]))
    yield host
    if host == DOCKER_HUB:
        yield _HUB_KEY


def _plain(key: str) -> str:
    """A key without scheme, and without the old API's path."""
    plain = key.partition("://")[2] or key
    plain = plain.removesuffix("/").removesuffix("/v1").removesuffix("/v2")
    return DOCKER_HUB if plain == _HUB_NAME else plain


def _from_entry(entry: dict[str, Any], path: str) -> Credentials | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials("", "", token)
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            user, colon, secret = base64.b64decode(auth).decode().partition(":")
        except ValueError:
            colon = user = secret = ""
        if not colon:
            raise FailedPrecondition(
                f"credentials in {visible(path)} can't be decoded", advice="log in again"
            )
        return Credentials(user, secret.rstrip("\0"))
    name, password = entry.get("username"), entry.get("password")
    if isinstance(name, str) and isinstance(password, str) and name:
        return Credentials(name, password)
    return None


def _from_helper(name: str, key: str) -> Credentials | None:
    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise FailedPrecondition(f"invalid name of a credential helper: {visible(name)}")
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=_HELPER_WAIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise FailedPrecondition(
            f"the credential helper {program} is not installed", advice="install it, or log in"
        ) from None
    except (OSError, subprocess.SubprocessError):
        raise FailedPrecondition(f"the credential helper {program} does not respond") from None
    if done.returncode:
        # The protocol has no exit code for missing credentials, only this message.
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        details = visible((done.stdout or done.stderr).decode(errors="replace").strip(), 200)
        raise FailedPrecondition(f"the credential helper {program} failed: {details}")
    try:
        reply = json.loads(done.stdout)
        user, secret = str(reply["Username"]), str(reply["Secret"])
    except (ValueError, KeyError, TypeError):
        raise FailedPrecondition(
            f"the credential helper {program} returned an invalid response"
        ) from None
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)
