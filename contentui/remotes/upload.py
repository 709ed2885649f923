"""Content on its way into a registry: asked for, mounted, sent, resumed.

Source: dist-and-registry.md 4 and 5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from contentui.content.errors import DataLoss
from contentui.remotes.answers import refusal
from contentui.remotes.breaks import without_query
from contentui.remotes.errors import Denied, Interrupted, Refused
from contentui.remotes.http import resolved
from contentui.remotes.model import Can
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from contentui.content.digest import Digest
    from contentui.remotes.http import Answer
    from contentui.remotes.model import Host
    from contentui.remotes.registry import Registry

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_DONE = (200, 201, 202, 204)


class Session:
    """An upload that the registry has begun."""

    def __init__(self, url: str, offset: int = 0) -> None:
        self.url = url
        """Where it goes on; changes with each request, and may carry secrets."""
        self.offset = offset
        """Bytes that the registry has."""


class Uploads:
    """Sends content into one repository. Thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        hosts = [host for host in registry.hosts if Can.PUSH in host.can and not host.mirrored]
        if not hosts:
            raise Refused(
                f"nothing may be pushed to {visible(registry.reference.host)}",
                host=registry.reference.host,
                status=0,
                advice="look at the capabilities in its hosts.toml",
            )
        self._host: Host = hosts[-1]

    @property
    def host(self) -> str:
        """Where content goes; hostile text."""
        return self._host.address

    def exists(self, digest: Digest) -> bool:
        """Whether the repository has a blob."""
        return self._has(f"/blobs/{digest}", digest)

    def has_manifest(self, name: str, digest: Digest) -> bool:
        """Whether a tag or digest stands for this very manifest there."""
        return self._has(f"/manifests/{quote(name, safe=':')}", digest)

    def begin(self, digest: Digest, mount_from: str = "") -> Session | None:
        """Begin to send a blob; None: the registry took it from the repository ``mount_from``.

        Raises:
            Denied, Refused, Interrupted: as the registry answers.
        """
        if mount_from:
            path = f"/blobs/uploads/?mount={digest}&from={quote(mount_from, safe='')}"
            try:
                answer = self._ask("POST", path, extra_scope=f"repository:{mount_from}:pull")
            except Denied:
                answer = self._ask("POST", "/blobs/uploads/")
        else:
            answer = self._ask("POST", "/blobs/uploads/")
        if answer.status == 201:
            answer.close()
            return None
        if answer.status != 202:
            raise refusal(answer, "an upload")
        answer.close()
        return Session(self._location(answer))

    def look(self, session: Session) -> bool:
        """Ask how far an upload has come, after a break; False: it can't be gone on with."""
        answer = self._registry.ask_url(self._host, "GET", session.url, push=True)
        if answer.status != 204:
            gone = 400 <= answer.status < 500
            error = refusal(answer, "the upload")
            if gone and not isinstance(error, Interrupted):
                return False
            raise error
        answer.close()
        match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        # 0-0 means one byte or none: the latter is what can be gone on with for sure.
        last = int(match[1]) if match else 0
        session.offset = last + 1 if last else 0
        session.url = self._location(answer, session.url)
        return True

    def send(self, session: Session, pieces: Callable[[], Iterable[bytes]], size: int) -> None:
        """Send so many bytes from the session's offset on.

        Raises:
            Interrupted: it broke; `look` tells how much arrived.
            Refused, Denied: as the registry answers.
        """
        last = session.offset + size - 1
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Range": f"{session.offset}-{last}",
        }
        answer = self._registry.ask_url(
            self._host, "PATCH", session.url, headers=headers, body=pieces, push=True
        )
        if answer.status not in (201, 202, 204):
            raise refusal(answer, "the upload")
        answer.close()
        session.url = self._location(answer, session.url)
        session.offset += size

    def finish(self, session: Session, digest: Digest) -> None:
        """Make a blob of what was sent.

        Raises:
            Refused: the registry found other bytes; they are gone then.
        """
        mark = "&" if urlsplit(session.url).query else "?"
        url = f"{session.url}{mark}digest={quote(digest, safe='')}"
        answer = self._registry.ask_url(
            self._host, "PUT", url, headers={"Content-Length": "0"}, push=True
        )
        if answer.status not in _DONE:
            raise refusal(answer, "the upload")
        answer.close()
        _compare(answer, digest)

    def put_manifest(self, name: str, data: bytes, media_type: str, digest: Digest) -> None:
        """Store a manifest under a tag or its digest.

        Raises:
            Refused: as the registry answers; 400 often means that something it needs is missing.
            DataLoss: the registry stored it under another digest.
        """
        answer = self._registry.ask(
            self._host,
            "PUT",
            f"/manifests/{quote(name, safe=':')}",
            headers={"Content-Type": media_type},
            body=lambda: data,
            push=True,
        )
        if answer.status not in _DONE:
            raise refusal(answer, f"the manifest {visible(name)}")
        answer.close()
        _compare(answer, digest)

    def _has(self, path: str, digest: Digest) -> bool:
        from contentui.remotes.registry import ACCEPTED

        answer = self._ask("HEAD", path, headers={"Accept": ", ".join(ACCEPTED)})
        if answer.status == 404:
            answer.close()
            return False
        if answer.status != 200:
            raise refusal(answer, digest)
        answer.close()
        return answer.headers.get("Docker-Content-Digest", digest) == digest

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra_scope: str = "",
    ) -> Answer:
        return self._registry.ask(
            self._host, method, path, headers=headers, push=True, extra_scope=extra_scope
        )

    def _location(self, answer: Answer, before: str = "") -> str:
        """Where an upload goes on.

        Raises:
            Refused: the registry doesn't say, or it would be without TLS.
        """
        location = answer.headers.get("Location")
        if not location:
            if before:
                return before
            raise Refused(
                f"{visible(answer.host)} begins an upload and doesn't say where",
                host=answer.host,
                status=answer.status,
            )
        url = resolved(answer, location)
        if self._host.scheme == "https" and urlsplit(url).scheme != "https":
            raise Refused(
                f"{visible(answer.host)} wants an upload without TLS, at"
                f" {visible(without_query(url), 200)}",
                host=answer.host,
                status=answer.status,
            )
        return url


def _compare(answer: Answer, digest: Digest) -> None:
    told = answer.headers.get("Docker-Content-Digest", digest)
    if told != digest:
        raise DataLoss(
            f"{visible(answer.host)} stored {visible(told, 160)} where {digest} was sent",
            advice="something on the way alters content",
        )
