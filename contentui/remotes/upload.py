"""Uploads into a registry: existence checks, mounts, chunks, resumption.

Source: "Push" in the OCI distribution specification.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from contentui.content.errors import DataLoss, FailedPrecondition
from contentui.oci.documents import MAX_BLOB_SIZE, MAX_MANIFEST_SIZE, parse_manifest
from contentui.oci.media_types import ACCEPTED, is_index_type
from contentui.remotes.body import read_document
from contentui.remotes.errors import Denied, Refused, RetryableError
from contentui.remotes.http import redirect_target
from contentui.remotes.response import from_response
from contentui.remotes.settings import HostCapability
from contentui.remotes.urls import redacted
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from contentui.content.digest import Digest
    from contentui.oci.documents import Manifest
    from contentui.remotes.registry import Registry
    from contentui.remotes.response import Response
    from contentui.remotes.settings import Host

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_AT_ONCE = 64 * 1024
_DONE = (200, 201, 202, 204)
_CHUNKS = (90_000_000, 45_000_000, 10_000_000, 5_000_000, 1_000_000)
"""Bytes below common limits of proxies: 100 and 50 MB, 10 MB; 5 MB is the least part of S3."""


class Session:
    """An upload that the registry has started."""

    def __init__(self, url: str, offset: int = 0) -> None:
        self.url = url
        """The URL of its next request; changes with each one, and may contain secrets."""
        self.offset = offset
        """Bytes that the registry has."""
        self.finishing = False
        """The registry was asked to commit it, and has not answered: it may still do so."""


class Uploads:
    """Sends content into one repository. Thread-safe."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        hosts = [
            host
            for host in registry.hosts
            if HostCapability.PUSH in host.capabilities and not host.mirror_of
        ]
        if not hosts:
            raise Refused(
                f"no host of {visible(registry.reference.host)} has the capability to push",
                host=registry.reference.host,
                status=0,
                advice="check the capabilities in its hosts.toml",
            )
        self._host: Host = hosts[-1]

    @property
    def host(self) -> str:
        """The host to which content is uploaded; untrusted text."""
        return self._host.address

    def exists(self, digest: Digest) -> bool:
        """Whether the repository has a blob."""
        return self._has(f"/blobs/{digest}", digest)

    def has_manifest(self, name: str, digest: Digest) -> bool:
        """Whether a tag or digest refers to this manifest there."""
        return self._has(f"/manifests/{quote(name, safe=':')}", digest)

    def manifest_at(self, name: str) -> Manifest | None:
        """What a tag is there; None: nothing, or no index and not valid as a manifest either.

        Raises:
            FailedPrecondition: an index that is not valid.
            Denied, Refused, RetryableError: from the registry.
        """
        path = f"/manifests/{quote(name, safe=':')}"
        response = self._request("GET", path, headers={"Accept": ", ".join(ACCEPTED)})
        if response.status == 404:
            response.close()
            return None
        if response.status != 200:
            raise from_response(response, visible(name))
        with response:
            data = read_document(response, MAX_MANIFEST_SIZE)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            return parse_manifest(data, media_type)
        except FailedPrecondition:
            if is_index_type(media_type):
                raise
            return None

    def start(self, digest: Digest, mount_from: str = "") -> Session | None:
        """Start to upload a blob; None: the registry mounted it from the repository ``mount_from``.

        Raises:
            Denied, Refused, RetryableError: from the registry.
        """
        if mount_from:
            path = f"/blobs/uploads/?mount={digest}&from={quote(mount_from, safe='')}"
            try:
                response = self._request("POST", path, extra_scope=f"repository:{mount_from}:pull")
            except Denied:
                response = self._request("POST", "/blobs/uploads/")
        else:
            response = self._request("POST", "/blobs/uploads/")
        if response.status == 201:
            response.close()
            return None
        if response.status != 202:
            raise from_response(response, "an upload")
        response.close()
        return Session(self._location(response))

    def resume(self, session: Session) -> bool:
        """Set the session to what the registry has, after a failure; False: it can't be resumed."""
        response = self._registry.request_url(self._host, "GET", session.url, push=True)
        if response.status != 204:
            gone = 400 <= response.status < 500
            error = from_response(response, "the upload")
            if gone and not isinstance(error, RetryableError):
                return False
            raise error
        response.close()
        match = _RANGE.fullmatch(response.headers.get("Range", "").strip())
        # 0-0 means one byte or none: starting at 0 is right in both cases.
        last = int(match[1]) if match else 0
        if last >= MAX_BLOB_SIZE:
            return False
        session.offset = last + 1 if last else 0
        session.url = self._location(response, session.url)
        return True

    def send(self, session: Session, pieces: Callable[[], Iterable[bytes]], size: int) -> None:
        """Upload ``size`` bytes, from the session's offset on.

        Raises:
            RetryableError: the connection broke, the session is gone, or the registry has other
                bytes than were sent; `resume` finds out how much it has.
            Refused, Denied: from the registry.
        """
        last = session.offset + size - 1
        # In one piece it can be sent again at once where the host closed an idle connection.
        body = pieces if size > _AT_ONCE else lambda: b"".join(pieces())
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Range": f"{session.offset}-{last}",
        }
        response = self._registry.request_url(
            self._host, "PATCH", session.url, headers=headers, body=body, push=True
        )
        if response.status not in (201, 202, 204):
            error = from_response(response, "the upload")
            if response.status in (404, 410, 416):
                raise RetryableError(error.message, host=response.host, status=response.status)
            if response.status == 413:
                error.advice = _chunk_advice(size)
            raise error
        response.close()
        session.url = self._location(response, session.url)
        stored = _RANGE.fullmatch(response.headers.get("Range", "").strip())
        session.offset += size
        if stored and int(stored[1]) not in (0, last):  # 0-0 may also mean none
            self._ask_offset(session, last + 1)

    def _ask_offset(self, session: Session, expected: int) -> None:
        """The answer to a chunk has another Range: some registries send a wrong one.

        Raises RetryableError: asked again, the registry has other bytes than were sent.
        """
        if not self.resume(session):
            session.offset = expected  # it can't be asked: the digest decides in the end
        elif session.offset != expected:
            raise RetryableError(
                f"{visible(self.host)} has {session.offset} bytes of the upload, and {expected}"
                " were sent",
                host=self.host,
            )

    def finish(self, session: Session, digest: Digest) -> None:
        """Commit what was uploaded as a blob.

        Raises:
            RetryableError: without an answer; ``session.finishing`` is set.
            Refused: the registry computed another digest, and discarded the bytes.
        """
        mark = "&" if urlsplit(session.url).query else "?"
        url = f"{session.url}{mark}digest={quote(digest, safe='')}"
        session.finishing = True
        response = self._registry.request_url(
            self._host, "PUT", url, headers={"Content-Length": "0"}, push=True
        )
        if response.status not in _DONE:
            session.finishing = response.status in (502, 504)  # from a proxy before the registry
            error = from_response(response, "the upload")
            if response.status in (404, 410, 416):
                raise RetryableError(error.message, host=response.host, status=response.status)
            raise error
        response.close()
        _check_digest(response, digest)

    def put_manifest(self, name: str, data: bytes, media_type: str, digest: Digest) -> None:
        """Store a manifest under a tag or its digest.

        Raises:
            Refused: from the registry; 400 often means that a child is missing there.
            DataLoss: the registry stored it under another digest.
        """
        response = self._registry.request(
            self._host,
            "PUT",
            f"/manifests/{quote(name, safe=':')}",
            headers={"Content-Type": media_type},
            body=lambda: data,
            push=True,
        )
        if response.status not in _DONE:
            raise from_response(response, f"the manifest {visible(name)}")
        response.close()
        _check_digest(response, digest)

    def _has(self, path: str, digest: Digest) -> bool:
        response = self._request("HEAD", path, headers={"Accept": ", ".join(ACCEPTED)})
        if response.status == 404:
            response.close()
            return False
        if response.status != 200:
            raise from_response(response, digest)
        response.close()
        return response.headers.get("Docker-Content-Digest", digest) == digest

    def _request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra_scope: str = "",
    ) -> Response:
        return self._registry.request(
            self._host, method, path, headers=headers, push=True, extra_scope=extra_scope
        )

    def _location(self, response: Response, before: str = "") -> str:
        """The URL of an upload's next request.

        Raises:
            Refused: the registry sent none, or one without TLS.
        """
        location = response.headers.get("Location")
        if not location:
            if before:
                return before
            raise Refused(
                f"{visible(response.host)} started an upload without a Location header",
                host=response.host,
                status=response.status,
            )
        url = redirect_target(response, location)
        if self._host.scheme == "https" and urlsplit(url).scheme != "https":
            raise Refused(
                f"{visible(response.host)} redirects an upload to a URL without TLS:"
                f" {visible(redacted(url), 200)}",
                host=response.host,
                status=response.status,
            )
        return url


def _chunk_advice(size: int) -> str:
    """A size of chunks to try after one request of ``size`` bytes was too large."""
    smaller = [limit for limit in _CHUNKS if limit < size]
    if not smaller:
        return "the registry or a proxy limits requests to less than that: ask who runs it"
    return f"send it in smaller requests: --chunk {smaller[0] // 10**6}MB"


def _check_digest(response: Response, digest: Digest) -> None:
    stored = response.headers.get("Docker-Content-Digest", digest)
    if stored != digest:
        raise DataLoss(
            f"{visible(response.host)} stored {visible(stored, 160)}, but {digest} was sent",
            advice="the registry or a proxy alters the content",
        )
