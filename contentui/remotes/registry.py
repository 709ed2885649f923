"""One repository of one registry: what a tag stands for, and content from any offset."""

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
from contentui.oci.references import DOCKER_HUB
from contentui.remotes.answers import refusal
from contentui.remotes.auth import Authorizer
from contentui.remotes.body import Body, start_of
from contentui.remotes.credentials import find_credentials
from contentui.remotes.errors import Interrupted, Missing, Refused
from contentui.remotes.hosts import hosts_of
from contentui.remotes.http import Http
from contentui.remotes.model import Can
from contentui.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from contentui.oci.references import Reference
    from contentui.remotes.http import Answer, Content
    from contentui.remotes.model import Host
    from contentui.remotes.settings import Credentials, Settings

_T = TypeVar("_T")

MAX_MANIFEST = 4 << 20
"""Bytes of the largest manifest that is read (dist-and-registry.md 3: containerd's limit)."""
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
ACCEPTED = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "*/*",
)
_ASKS = 3
"""Times that a request is sent with other credentials before a refusal is believed."""
_IS_MANIFEST = re.compile(r"application/vnd\..*(?:manifest|index).*json")


class Registry:
    """A repository, through its mirrors and itself. Thread-safe; close it."""

    def __init__(self, reference: Reference, settings: Settings, http: Http | None = None) -> None:
        """Raises FailedPrecondition: configuration that makes no sense. Connects to nothing."""
        self.reference = reference
        self.hosts = hosts_of(reference.host, settings)
        self.http = http or Http(settings.waits)
        self._settings = settings
        self._authorizers: dict[str, Authorizer] = {}
        self._doubts: Counter[str] = Counter()

    def interrupt(self) -> None:
        """End all requests of all threads, for good. May be called from a signal handler."""
        self.http.interrupt()

    def doubt(self, body: Body) -> None:
        """Ask its host after the others from now on: its bytes broke off, or were others."""
        self._doubts[body.asked] += 1

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def resolve(self, media_type: str = "") -> Descriptor:
        """What the reference stands for now; with ``media_type``, in this form where there is one.

        Raises:
            Missing, Denied, Refused, Interrupted: as the hosts answer.
            DataLoss: a host names another digest than the one that was asked for.
        """
        needed = Can.PULL if self.reference.digest else Can.RESOLVE

        def ask(host: Host) -> Descriptor:
            path = f"/manifests/{quote(self.reference.object, safe=':')}"
            headers = {"Accept": media_type or ", ".join(ACCEPTED)}
            answer = self.ask(host, "HEAD", path, headers=headers)
            if answer.status == 405 or (answer.status == 200 and not _is_told(answer)):
                answer.close()
                return self._resolve_by_reading(host, path, headers)
            if answer.status in (401, 403):
                answer.close()  # a HEAD has no words; the same as a GET has
                answer = self.ask(host, "GET", path, headers=headers)
            if answer.status != 200:
                raise refusal(answer, self._what(self.reference.object))
            with answer:
                digest = Digest.parse(answer.headers["Docker-Content-Digest"])
                return self._descriptor(answer, digest, answer.length or _length(answer))

        return self._first(needed, ask)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest's or index's bytes, which have its digest.

        Raises:
            Refused: larger than `MAX_MANIFEST`.
            DataLoss: the bytes are others.
            Missing, Denied, Interrupted: as the hosts answer.
        """

        def ask(host: Host) -> bytes:
            headers = {"Accept": descriptor.media_type or ", ".join(ACCEPTED)}
            answer = self.ask(host, "GET", f"/manifests/{descriptor.digest}", headers=headers)
            if answer.status == 404:
                answer.close()
                answer = self.ask(host, "GET", f"/blobs/{descriptor.digest}")
            if answer.status != 200:
                raise refusal(answer, self._what(descriptor.digest))
            with answer:
                data = answer.read(MAX_MANIFEST)
            if Digest.of(data, descriptor.digest.algorithm) != descriptor.digest:
                raise DataLoss(
                    f"{visible(answer.host)} sends other bytes than {descriptor.digest}",
                    advice="something between here and the registry alters or mixes up content",
                )
            return data

        return self._first(Can.PULL, ask)

    def open(self, descriptor: Descriptor, offset: int = 0, urls: Sequence[str] = ()) -> Body:
        """A blob's bytes from ``offset`` on; where a host can't, it reads and skips those before.

        ``urls``: where else it may be had, asked first and without credentials.

        Raises:
            Missing, Denied, Refused, Interrupted: as the hosts answer.
        """
        if _IS_MANIFEST.fullmatch(descriptor.media_type):
            paths = [f"/manifests/{descriptor.digest}", f"/blobs/{descriptor.digest}"]
        else:
            paths = [f"/blobs/{descriptor.digest}"]

        def ask(host: Host) -> Body:
            for path in paths[:-1]:
                try:
                    return self._open_at(host, path, descriptor, offset)
                except Missing:
                    continue
            return self._open_at(host, paths[-1], descriptor, offset)

        for url in urls:
            with suppress(ContentError):
                return self._body(descriptor, offset, url, partial(self._follow, url))
        return self._first(Can.PULL, ask)

    def describe(self, digest: Digest, media_type: str = "") -> Descriptor:
        """The descriptor of a blob or manifest of which only the digest is known.

        Raises:
            Missing, Denied, Refused, Interrupted: as the hosts answer.
        """
        kinds = ("manifests", "blobs") if _IS_MANIFEST.fullmatch(media_type) else ("blobs",)

        def ask(host: Host) -> Descriptor:
            for kind in kinds:
                headers = {"Accept": media_type or ", ".join(ACCEPTED)}
                answer = self.ask(host, "HEAD", f"/{kind}/{digest}", headers=headers)
                if answer.status != 404 or kind == kinds[-1]:
                    break
                answer.close()
            if answer.status != 200:
                raise refusal(answer, self._what(digest))
            answer.close()
            if "Content-Length" not in answer.headers:
                raise Refused(
                    f"{visible(answer.host)} doesn't say how large {self._what(digest)} is",
                    host=answer.host,
                    status=answer.status,
                    advice="fetch the image that it belongs to",
                )
            told = answer.headers.get("Content-Type", "").partition(";")[0][:256]
            return Descriptor(media_type or told, digest, _length(answer))

        return self._first(Can.PULL, ask)

    def ask(
        self,
        host: Host,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Content] | None = None,
        push: bool = False,
        extra_scope: str = "",
    ) -> Answer:
        """One request below the repository, with the credentials that the host asks for.

        ``body`` makes the content anew for each attempt. Returns the answer whatever its status,
        but for 401: Denied.
        """
        url = f"{host.scheme}://{host.address}{host.path}/{self.reference.repository}{path}"
        if host.mirrored:
            url += f"{'&' if '?' in url else '?'}ns={quote(host.mirrored, safe='')}"
        return self.ask_url(
            host, method, url, headers=headers, body=body, push=push, extra_scope=extra_scope
        )

    def ask_url(
        self,
        host: Host,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Content] | None = None,
        push: bool = False,
        extra_scope: str = "",
    ) -> Answer:
        """`ask` at any URL; one of another host than ``host`` gets no credentials."""
        scope = f"repository:{self.reference.repository}:{'pull,push' if push else 'pull'}"
        if extra_scope:
            scope += f" {extra_scope}"

        def send(sent: Mapping[str, str]) -> Answer:
            if method in ("GET", "HEAD"):
                return self.http.follow(method, url, tls=host.tls, headers=sent)
            content = b"" if body is None else body()
            return self.http.request(method, url, tls=host.tls, headers=sent, body=content)

        if urlsplit(url)[:2] != (host.scheme, host.address):
            return send(headers or {})
        return self.authorized(host, scope, send, {**host.headers, **(headers or {})})

    def authorized(
        self,
        host: Host,
        scope: str,
        send: Callable[[Mapping[str, str]], Answer],
        headers: Mapping[str, str],
    ) -> Answer:
        """What ``send`` returns once its headers hold what the host wants to see.

        Raises:
            Denied: it refuses whoever we can be.
        """
        authorizer = self._authorizer(host)
        used = authorizer.header(scope)
        for _ in range(_ASKS):
            answer = send({**headers, "Authorization": used} if used else headers)
            if answer.status != 401:
                return answer
            if answer.host != host.address:
                raise refusal(answer, self._what(""))  # a redirect's host has its own secrets
            before, used = used, authorizer.answer(answer, scope, used)
            if before == used:
                break
        raise self._denied(host)

    def _open_at(self, host: Host, path: str, descriptor: Descriptor, offset: int) -> Body:
        def ask(headers: Mapping[str, str]) -> Answer:
            return self.ask(host, "GET", path, headers=headers)

        return self._body(descriptor, offset, host.address, ask)

    def _body(
        self,
        descriptor: Descriptor,
        offset: int,
        asked: str,
        ask: Callable[[Mapping[str, str]], Answer],
    ) -> Body:
        answer = ask({"Range": f"bytes={offset}-"} if offset else {})
        start = start_of(answer, descriptor.size)
        if offset and answer.status in (206, 416) and (start is None or start > offset):
            answer.close()
            answer = ask({})
            start = start_of(answer, descriptor.size)
        if answer.status not in (200, 206):
            raise refusal(answer, self._what(descriptor.digest))
        if start is None or start > offset:
            answer.close()
            raise Interrupted(
                f"{visible(answer.host)} sends a part of the content and doesn't say which",
                host=answer.host,
            )
        body = Body(answer, descriptor.size, offset, start)
        body.asked = asked
        return body

    def _follow(self, url: str, headers: Mapping[str, str]) -> Answer:
        return self.http.follow("GET", url, headers=headers)

    def _resolve_by_reading(self, host: Host, path: str, headers: Mapping[str, str]) -> Descriptor:
        answer = self.ask(host, "GET", path, headers=headers)
        if answer.status != 200:
            raise refusal(answer, self._what(self.reference.object))
        with answer:
            data = answer.read(MAX_MANIFEST)
        wanted = self.reference.digest
        digest = Digest.of(data, wanted.algorithm if wanted else "sha256")
        return self._descriptor(answer, digest, len(data))

    def _descriptor(self, answer: Answer, digest: Digest, size: int) -> Descriptor:
        wanted = self.reference.digest
        if wanted is not None and digest != wanted:
            raise DataLoss(f"{visible(answer.host)} answers with {digest} when asked for {wanted}")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()[:256]
        if media_type in SCHEMA1:
            raise Refused(
                f"{visible(str(self.reference))} is an image in Docker's schema 1,"
                " which has been out of use since 2019 and can't be verified",
                host=answer.host,
                status=answer.status,
                advice="pull and push it with docker once, or build it anew",
            )
        if size > MAX_MANIFEST:
            raise Refused(
                f"{visible(answer.host)} has a manifest of {size} bytes, more than {MAX_MANIFEST}",
                host=answer.host,
                status=answer.status,
            )
        return Descriptor(media_type, digest, size)

    def _first(self, needed: Can, ask: Callable[[Host], _T]) -> _T:
        """What the first host answers that can; else the failure that tells most."""
        worst: ContentError | None = None
        passing: Interrupted | None = None
        for host in sorted(self.hosts, key=lambda host: self._doubts[host.address]):
            if needed not in host.can:
                continue
            try:
                return ask(host)
            except ContentError as error:
                if isinstance(error, Interrupted) and not host.mirrored:
                    passing = error
                if worst is None or _rank(error) >= _rank(worst):
                    worst = error
        if passing is not None:  # what mirrors lack or refuse tells nothing before it is asked
            raise passing
        if worst is None:
            raise Refused(
                f"no host may be asked for the content of {visible(self.reference.host)}",
                host=self.reference.host,
                status=0,
                advice="look at the capabilities in its hosts.toml",
            )
        raise worst

    def _authorizer(self, host: Host) -> Authorizer:
        def find() -> Credentials | None:
            given = self._settings.credentials
            if given is not None:
                return given if not host.mirrored else None
            own = not host.mirrored and self.reference.host == DOCKER_HUB
            name = DOCKER_HUB if own else host.address
            return find_credentials(name, self.reference.repository)

        made = self._authorizers.get(host.address)
        if made is None:
            made = self._authorizers.setdefault(host.address, Authorizer(self.http, host, find))
        return made

    def _what(self, wanted: str) -> str:
        """A thing of this repository, in words."""
        repository = visible(f"{self.reference.host}/{self.reference.repository}")
        return f"{visible(wanted)} of {repository}" if wanted else repository

    def _denied(self, host: Host) -> ContentError:
        from contentui.remotes.errors import Denied

        return Denied(
            f"{visible(host.address)} refuses access to {self._what('')} as who we are",
            host=host.address,
            status=401,
            advice="log in to it (docker login, skopeo login), or give --user",
        )


def _is_told(answer: Answer) -> bool:
    """Whether a HEAD tells digest and size."""
    try:
        Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except InvalidArgument:
        return False
    return _length(answer) > 0


def _length(answer: Answer) -> int:
    """The length that a HEAD announces, for which no body follows."""
    text = answer.headers.get("Content-Length", "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


def _rank(error: ContentError) -> int:
    """How much a failure tells: of several hosts' the one with the highest is raised."""
    if isinstance(error, Interrupted) or (isinstance(error, Refused) and not error.status):
        return 0
    if isinstance(error, Missing):
        return 1
    return 2
