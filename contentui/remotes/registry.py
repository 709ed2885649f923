"""One repository of one registry: the digests of tags, and content from any offset.

Source: "Pull" in the OCI distribution specification; containerd's ``core/remotes/docker``.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, DataLoss, InvalidArgument
from contentui.content.model import Descriptor
from contentui.oci.documents import MAX_MANIFEST_SIZE
from contentui.oci.media_types import ACCEPTED, DOCKER_SCHEMA1
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.auth import Authorizer
from contentui.remotes.body import Body, encoding_of, read_document, start_offset
from contentui.remotes.credentials import find_credentials
from contentui.remotes.errors import (
    CHECK_ACCOUNT,
    LOG_IN,
    Denied,
    Missing,
    Refused,
    RetryableError,
)
from contentui.remotes.hosts import hosts_of
from contentui.remotes.http import Http
from contentui.remotes.response import from_response
from contentui.remotes.settings import HostCapability
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from contentui.oci.references import Reference
    from contentui.remotes.http import Body as Content
    from contentui.remotes.response import Response
    from contentui.remotes.settings import Credentials, Host, Settings

_T = TypeVar("_T")

_MAX_AUTHENTICATIONS = 3
"""How often a request is sent with new credentials before it counts as denied."""
_IS_MANIFEST = re.compile(r"application/vnd\..*(?:manifest|index).*json")


class Registry:
    """A repository, on the registry and its mirrors. Thread-safe; close it."""

    def __init__(self, reference: Reference, settings: Settings, http: Http | None = None) -> None:
        """Connects to nothing yet. Raises FailedPrecondition: an invalid hosts.toml."""
        self.reference = reference
        self.hosts = hosts_of(reference.host, settings)
        self.http = http or Http(settings.timeouts)
        self.attempts = settings.attempts
        """How often content is requested without useful progress before it fails."""
        self._settings = settings
        self._authorizers: dict[str, Authorizer] = {}
        self._failures: Counter[str] = Counter()

    def interrupt(self) -> None:
        """End all requests of all threads, also later ones. May be called from a signal handler."""
        self.http.interrupt()

    def demote(self, body: Body) -> None:
        """Try its host after the others from now on: its bytes broke off, or were wrong."""
        self._failures[body.requested_from] += 1

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def resolve(self, media_type: str = "") -> Descriptor:
        """The descriptor to which the reference refers now.

        ``media_type`` is sent as the only type that is accepted; empty: all known ones.

        Raises:
            Missing, Denied, Refused, RetryableError: from the hosts.
            DataLoss: a host responses with another digest than the one that was requested.
        """
        needed = HostCapability.PULL if self.reference.digest else HostCapability.RESOLVE

        def request(host: Host) -> Descriptor:
            path = f"/manifests/{quote(self.reference.object, safe=':')}"
            headers = {"Accept": media_type or ", ".join(ACCEPTED)}
            response = self.request(host, "HEAD", path, headers=headers)
            if response.status == 405 or (response.status == 200 and not _has_descriptor(response)):
                response.close()
                return self._resolve_by_reading(host, path, headers)
            if response.status in (401, 403, 404):
                response.close()  # a HEAD has no error message, a GET has
                response = self.request(host, "GET", path, headers=headers)
            if response.status != 200:
                raise from_response(response, self._what(self.reference.object))
            with response:
                digest = Digest.parse(response.headers["Docker-Content-Digest"])
                return self._descriptor(response, digest, response.length or _length(response))

        return self._first_success(needed, request)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The verified bytes of a manifest or index.

        Raises:
            Refused: it is larger than `MAX_MANIFEST_SIZE`.
            DataLoss: the bytes have another digest.
            Missing, Denied, RetryableError: from the hosts.
        """

        def request(host: Host) -> bytes:
            headers = {"Accept": descriptor.media_type or ", ".join(ACCEPTED)}
            response = self.request(host, "GET", f"/manifests/{descriptor.digest}", headers=headers)
            if response.status == 404:
                response.close()
                response = self.request(host, "GET", f"/blobs/{descriptor.digest}")
            if response.status != 200:
                raise from_response(response, self._what(descriptor.digest))
            with response:
                data = read_document(response, MAX_MANIFEST_SIZE)
            if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
                raise DataLoss(
                    f"{visible(response.host)} sent other bytes than {descriptor.digest}",
                    advice="the registry or a proxy alters the content",
                )
            return data

        return self._first_success(HostCapability.PULL, request)

    def open(
        self,
        descriptor: Descriptor,
        offset: int = 0,
        urls: Sequence[str] = (),
        *,
        decoded: bool = False,
    ) -> Body:
        """A blob's bytes from ``offset`` on; if a host ignores ranges, `Body.skip` drops the rest.

        ``urls``: other places of the blob, tried first and without credentials. ``decoded``: undo
        a Content-Encoding, after the encoded bytes turned out to be others.

        Raises:
            Missing, Denied, Refused, RetryableError: from the hosts.
        """
        if _IS_MANIFEST.fullmatch(descriptor.media_type):
            paths = [f"/manifests/{descriptor.digest}", f"/blobs/{descriptor.digest}"]
        else:
            paths = [f"/blobs/{descriptor.digest}"]

        def open_at(host: Host, path: str) -> Body:
            def get(headers: Mapping[str, str]) -> Response:
                return self.request(host, "GET", path, headers=headers)

            return self._body(descriptor, offset, host.address, get, decoded=decoded)

        def request(host: Host) -> Body:
            for path in paths[:-1]:
                try:
                    return open_at(host, path)
                except Missing:
                    continue
            return open_at(host, paths[-1])

        for url in urls:
            with suppress(ContentError):
                follow = partial(self._follow, url)
                return self._body(descriptor, offset, url, follow, decoded=decoded)
        return self._first_success(HostCapability.PULL, request)

    def describe(self, digest: Digest, media_type: str = "") -> Descriptor:
        """The descriptor of a blob or manifest of which only the digest is known.

        Raises:
            Missing, Denied, Refused, RetryableError: from the hosts.
        """
        kinds = ("manifests", "blobs") if _IS_MANIFEST.fullmatch(media_type) else ("blobs",)

        def request(host: Host) -> Descriptor:
            for kind in kinds:
                headers = {"Accept": media_type or ", ".join(ACCEPTED)}
                response = self.request(host, "HEAD", f"/{kind}/{digest}", headers=headers)
                if response.status != 404 or kind == kinds[-1]:
                    break
                response.close()
            if response.status != 200:
                raise from_response(response, self._what(digest))
            response.close()
            if "Content-Length" not in response.headers:
                raise Refused(
                    f"{visible(response.host)} sent no Content-Length for {self._what(digest)}",
                    host=response.host,
                    status=response.status,
                    advice="fetch the image of which it is a part",
                )
            found = response.headers.get("Content-Type", "").partition(";")[0][:256]
            return Descriptor(media_type or found, digest, _length(response))

        return self._first_success(HostCapability.PULL, request)

    def request(
        self,
        host: Host,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Content | None = None,
        push: bool = False,
        extra_scope: str = "",
    ) -> Response:
        """One request below the repository, with the credentials that the host asks for.

        ``body`` makes the content again for each attempt. Returns the response whatever its status,
        except for a 401 of the host itself, for which it raises Denied.
        """
        url = f"{host.scheme}://{host.address}{host.path}/{self.reference.repository}{path}"
        if host.mirror_of:
            url += f"{'&' if '?' in url else '?'}ns={quote(host.mirror_of, safe='')}"
        return self.request_url(
            host, method, url, headers=headers, body=body, push=push, extra_scope=extra_scope
        )

    def request_url(
        self,
        host: Host,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Content | None = None,
        push: bool = False,
        extra_scope: str = "",
    ) -> Response:
        """`request` to any URL; another host than ``host`` gets no credentials."""
        scope = f"repository:{self.reference.repository}:{'pull,push' if push else 'pull'}"
        if extra_scope:
            scope += f" {extra_scope}"

        def send(sent: Mapping[str, str]) -> Response:
            return self.http.follow(
                method, url, tls=host.tls, headers=sent, body=content, timeouts=host.timeouts
            )

        content = body
        if body is None and method not in ("GET", "HEAD"):
            content = bytes  # Content-Length: 0
        if urlsplit(url)[:2] != (host.scheme, host.address):
            return send(headers or {})
        return self._authorized(host, scope, send, {**host.headers, **(headers or {})})

    def _authorized(
        self,
        host: Host,
        scope: str,
        send: Callable[[Mapping[str, str]], Response],
        headers: Mapping[str, str],
    ) -> Response:
        """What ``send`` returns with the Authorization header that the host asks for.

        Raises:
            Denied: there are no credentials that it accepts.
        """
        authorizer = self._authorizer(host)
        used = authorizer.header(scope)
        for _ in range(_MAX_AUTHENTICATIONS):
            response = send({**headers, "Authorization": used} if used else headers)
            response.with_account = used is not None and authorizer.has_account
            # The credentials are not for a redirect's host.
            if response.status != 401 or response.redirected:
                return response
            before, used = used, authorizer.respond(response, scope, used)
            if before == used:
                break
        raise Denied(
            f"{visible(host.address)} denies access to {self._what('')} with these credentials",
            host=host.address,
            status=401,
            advice=CHECK_ACCOUNT if authorizer.has_account else LOG_IN,
        )

    def _body(
        self,
        descriptor: Descriptor,
        offset: int,
        requested_from: str,
        request: Callable[[Mapping[str, str]], Response],
        *,
        decoded: bool,
    ) -> Body:
        response = request({"Range": f"bytes={offset}-"} if offset else {})
        start = start_offset(response, descriptor.size)
        # A range of an encoded body is none of the blob.
        unusable = start is None or start > offset or encoding_of(response)
        if offset and response.status in (206, 416) and unusable:
            response.close()
            response = request({})
            start = start_offset(response, descriptor.size)
        if response.status not in (200, 206):
            error = from_response(response, self._what(descriptor.digest))
            if isinstance(error, Denied) and response.redirected:
                raise _expired(error)
            raise error
        if start is None or start > offset:
            response.close()
            raise RetryableError(
                f"{visible(response.host)} sent partial content without a valid Content-Range",
                host=response.host,
            )
        body = Body(response, descriptor.size, offset, start, decoded=decoded)
        body.requested_from = requested_from
        return body

    def _follow(self, url: str, headers: Mapping[str, str]) -> Response:
        return self.http.follow("GET", url, headers=headers)

    def _resolve_by_reading(self, host: Host, path: str, headers: Mapping[str, str]) -> Descriptor:
        response = self.request(host, "GET", path, headers=headers)
        if response.status != 200:
            raise from_response(response, self._what(self.reference.object))
        with response:
            data = read_document(response, MAX_MANIFEST_SIZE)
        expected = self.reference.digest
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        return self._descriptor(response, digest, len(data))

    def _descriptor(self, response: Response, digest: Digest, size: int) -> Descriptor:
        expected = self.reference.digest
        if expected is not None and digest != expected:
            raise DataLoss(
                f"{visible(response.host)} answered with {digest}, but {expected} was requested"
            )
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()[:256]
        if media_type in DOCKER_SCHEMA1:
            raise Refused(
                f"{visible(str(self.reference))} is in Docker's schema 1, which is not supported",
                host=response.host,
                status=response.status,
                advice="pull and push it with docker once, or rebuild it",
            )
        if size > MAX_MANIFEST_SIZE:
            raise Refused(
                f"{visible(response.host)} has a manifest of {size} bytes, of at most"
                f" {MAX_MANIFEST_SIZE}",
                host=response.host,
                status=response.status,
            )
        return Descriptor(media_type, digest, size)

    def _first_success(self, needed: HostCapability, request: Callable[[Host], _T]) -> _T:
        """The result of the first host that has one.

        Otherwise the failure of one of them is raised: one that a retry may change, an answer
        before a connection that failed; else the most specific one. A mirror's failure doesn't
        hide that of the registry of the same kind.
        """
        worst: ContentError | None = None
        highest = (-1, False)
        for host in sorted(self.hosts, key=lambda host: self._failures[host.address]):
            if needed not in host.capabilities:
                continue
            try:
                return request(host)
            except ContentError as error:
                rank = (_rank(error), not host.mirror_of)
                if worst is None or rank >= highest:
                    worst, highest = error, rank
        if worst is None:
            raise Refused(
                f"no host of {visible(self.reference.host)} has the capability that is needed",
                host=self.reference.host,
                status=0,
                advice="check the capabilities in its hosts.toml",
            )
        raise worst

    def _authorizer(self, host: Host) -> Authorizer:
        def find() -> Credentials | None:
            given = self._settings.credentials
            if given is not None:
                return given if not host.mirror_of else None
            own = not host.mirror_of and self.reference.host == DOCKER_HUB
            name = DOCKER_HUB if own else host.address
            return find_credentials(name, self.reference.repository)

        made = self._authorizers.get(host.address)
        if made is None:
            made = self._authorizers.setdefault(host.address, Authorizer(self.http, host, find))
        return made

    def _what(self, expected: str) -> str:
        """Content of this repository, for messages."""
        repository = visible(f"{self.reference.host}/{self.reference.repository}")
        return f"{visible(expected)} of {repository}" if expected else repository


def _has_descriptor(response: Response) -> bool:
    """Whether a HEAD has digest and size."""
    try:
        Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except InvalidArgument:
        return False
    return _length(response) > 0


def _length(response: Response) -> int:
    """The Content-Length of a HEAD's response."""
    text = response.headers.get("Content-Length", "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


def _rank(error: ContentError) -> int:
    """Which of several hosts' failures is raised: the highest. What may pass comes first."""
    if isinstance(error, RetryableError):
        return 4 if error.status else 3
    if isinstance(error, Refused) and not error.status:
        return 0
    return 1 if isinstance(error, Missing) else 2


def _expired(error: Denied) -> RetryableError:
    """A redirect's host that denies: its signed URL may have expired, and is asked for again."""
    return RetryableError(
        f"{error.message} (where the registry redirected to)",
        host=error.host,
        status=error.status,
        advice="the registry's signed URL was denied again and again: check this machine's clock",
    )
