"""Names of images, as docker and as containerd write them (dist-and-registry.md 3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from contentui.content.digest import Digest
from contentui.content.errors import InvalidArgument
from contentui.text import visible

DOCKER_HUB = "docker.io"
"""What the default registry is called in names; it answers under another address."""
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
    """When both are given, the digest is what is pulled."""

    @property
    def object(self) -> str:
        """What to ask the registry for: the digest, or the tag."""
        return str(self.digest or self.tag)

    def __str__(self) -> str:
        """The full name, as images are recorded under it."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Parse a name like ``redis``, ``team/web:v2``, ``registry:5000/a/b@sha256:…``.

    Without a host it is Docker Hub's, without tag and digest it is ``latest``.

    Raises:
        InvalidArgument: it is not a name; says which part of it is wrong.
    """
    shown = visible(text, 200)
    if "://" in text:
        raise InvalidArgument(
            f"{shown} is a URL, not the name of an image",
            advice="leave out what is before the host, as in registry.example.com/team/web:v2",
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
        raise InvalidArgument(f"{visible(host, 100) or 'nothing'} is not a host, in {shown}")
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            raise InvalidArgument(
                f"{visible(component, 100) or 'an empty part'} can't be in the name of a "
                f"repository, in {shown}",
                advice="use lower-case letters and digits, with . _ - between them",
            )
    if colon and not _TAG.fullmatch(tag):
        raise InvalidArgument(f"{visible(tag, 100) or 'nothing'} is not a tag, in {shown}")
    if len(host) + 1 + len(repository) > _MAX_NAME:
        raise InvalidArgument(f"{shown} is longer than {_MAX_NAME} characters")
    if not colon and digest is None:
        tag = DEFAULT_TAG
    return Reference(host, repository, tag, digest)


def _split_host(name: str) -> tuple[str, str]:
    """The host, given or meant, and the rest."""
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
