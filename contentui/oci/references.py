"""Names of images, as docker and containerd write them.

Sources: ``regexp.go`` and ``normalize.go`` of the module ``github.com/distribution/reference``;
"Pulling manifests" in the OCI distribution specification.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.text import visible

DOCKER_HUB = "docker.io"
"""The default registry in names; its API is at another address."""
DEFAULT_TAG = "latest"

_MAX_NAME = 255
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?)+(?::[0-9]{1,5})?"
    r"|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_BARE_DIGEST = re.compile(r"[0-9a-f]{64}")


class Reference(NamedTuple):
    """The name of an image in a registry, parsed."""

    host: str
    """As it is written in names: ``docker.io``, ``localhost:5000``."""
    repository: str
    """``library/redis``"""
    tag: str = ""
    digest: Digest | None = None
    """If there is a tag as well, the digest is what is pulled."""

    @property
    def object(self) -> str:
        """The digest, or else the tag: what requests to the registry name."""
        return str(self.digest or self.tag)

    def __str__(self) -> str:
        """The full name, as images are recorded under it."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Parse a name like ``redis``, ``team/web:v2``, ``registry:5000/a/b@sha256:…``.

    The default host is Docker Hub, the default tag ``latest``.

    Raises:
        InvalidArgument: it is not a name; the message names the part that is invalid.
    """
    shown = visible(text, 200)
    if "://" in text:
        raise InvalidArgument(
            f"{shown} is a URL, not the name of an image",
            advice="leave out the scheme, as in registry.example.com/team/web:v2",
        )
    name, at, digest_text = text.partition("@")
    digest = Digest.parse(digest_text) if at else None
    host, path = _split_host(name)
    repository, colon, tag = path.partition(":")
    if _BARE_DIGEST.fullmatch(name):
        raise InvalidArgument(
            f"{shown} is a digest without a repository", advice=f"write REPOSITORY@sha256:{shown}"
        )
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else "1"
    if not _HOST.fullmatch(host) or not 0 < int(port) < 65536:
        raise InvalidArgument(f"invalid host {visible(host, 100) or '(empty)'} in {shown}")
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise InvalidArgument(
                f"invalid repository name {visible(component, 100) or '(empty)'} in {shown}",
                advice="use lower-case letters and digits, with . _ - between them",
            )
    if colon and not _TAG.fullmatch(tag):
        raise InvalidArgument(f"invalid tag {visible(tag, 100) or '(empty)'} in {shown}")
    if len(host) + 1 + len(repository) > _MAX_NAME:
        raise InvalidArgument(f"{shown} is longer than {_MAX_NAME} characters")
    if not colon and digest is None:
        tag = DEFAULT_TAG
    return Reference(host, repository, tag, digest)


def _split_host(name: str) -> tuple[str, str]:
    """The host, or the default one, and the rest."""
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )
    host, path = (first, rest) if is_host else (DOCKER_HUB, name)
    if host == f"index.{DOCKER_HUB}":
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return host, path
