"""The faults of the fault table: what a registry does wrong, in order."""

from __future__ import annotations

import math
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from bench import faulty
from bench.faulty import FaultyRegistry, cut, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from contentui.demo.registry import Connection, Request

    Fault = Callable[[Connection, Request, bytes], object]

MIB = 1 << 20
RATE = 4.0 * MIB
"""Bytes a second where a pull must last long enough to be watched."""


class Case(NamedTuple):
    """One row: what is queued for each request for the layer, and how the pull is run."""

    words: str
    faults: tuple[Fault, ...] = ()
    last_for_ever: bool = False
    part: str = ""
    """Which requests get the faults, by a part of their path; empty: those for the layer."""
    way: str = "once"
    """Else ``killed``: at 60 %, and started again; ``twice``: two at once."""
    prepare: Callable[[FaultyRegistry, FaultyRegistry, str], object] = lambda *_: None
    """Called before with the registry, another that has the image too, and the layer's path."""


def deaf(registry: FaultyRegistry, _: FaultyRegistry, layer: str) -> None:
    """Part of the layer, then connections are refused for two seconds."""

    def fault(link: Connection, request: Request, data: bytes) -> None:
        cut(MIB)(link, request, data)
        registry.refuse_connections(2)

    registry.faults[layer] = [fault]


def expiring(registry: FaultyRegistry, _: FaultyRegistry, layer: str) -> None:
    registry.expire()

    def fault(link: Connection, request: Request, data: bytes) -> None:
        registry.expire()
        cut(MIB)(link, request, data)

    registry.faults[layer] = [fault]


def elsewhere(registry: FaultyRegistry, other: FaultyRegistry, layer: str) -> None:
    """The layer's bytes are at another host, which gets no token."""
    registry.expire()

    def fault(link: Connection, request: Request, data: bytes) -> object:
        return faulty.redirect(f"http://{other.host}{request.path}")(link, request, data)

    registry.faults[layer] = [fault]
    registry.for_ever = True


def denied(registry: FaultyRegistry, other: FaultyRegistry, layer: str) -> None:
    """The other host denies the URL, as one that has expired, three times."""
    elsewhere(registry, other, layer)
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    other.faults[layer] = [refuse(403, body=body)] * 3


def circle(link: Connection, request: Request, data: bytes) -> object:
    return faulty.redirect(request.path)(link, request, data)


def busy(in_words: Callable[[float], str]) -> Callable[..., None]:
    """Everybody is asked to come again in two seconds, and not before."""

    def prepare(registry: FaultyRegistry, _: FaultyRegistry, layer: str) -> None:
        until_s = 0.0

        def fault(link: Connection, request: Request, data: bytes) -> object:
            nonlocal until_s
            until_s = until_s or math.ceil(time.time() + 2)
            if time.time() >= until_s:
                return faulty.late(0)(link, request, data)
            return refuse(429, f"Retry-After: {in_words(until_s)}")(link, request, data)

        registry.faults[layer] = [fault]
        registry.for_ever = True

    return prepare


def in_seconds(until_s: float) -> str:
    return str(math.ceil(until_s - time.time()))


def as_date(until_s: float) -> str:
    return formatdate(until_s, usegmt=True)


CASES = (
    Case("the connection ends once (FIN)", (cut(MIB),)),
    Case("it ends after each MiB", (cut(MIB),), last_for_ever=True),
    Case("it ends 50 times in a row", (cut(80_000),) * 50),
    Case(
        "it ends after 20 to 60 kB, always",
        (faulty.cut_somewhere(1, 20_000, 60_000),),
        last_for_ever=True,
    ),
    Case("it is reset once (RST)", (cut(MIB, reset=True),)),
    Case("silence in the middle, for good", (cut(MIB, stall=True),)),
    Case("a byte now and then", (faulty.drip,)),
    Case("the last 100 bytes are missing", (cut(-100),)),
    Case("503 once", (refuse(503),)),
    Case("503 three times", (refuse(503),) * 3),
    Case("429 for 2 s, `Retry-After` in seconds", prepare=busy(in_seconds)),
    Case("429 for 2 s, `Retry-After` as a date", prepare=busy(as_date)),
    Case("the connection ends, then is refused for 2 s", prepare=deaf),
    Case("the first byte comes after 5 s", (faulty.late(5),)),
    Case("the first byte comes after 40 s", (faulty.late(40),)),
    Case("206 in parts of a MiB, always", (faulty.part(MIB),), last_for_ever=True),
    Case("200 instead of 206", (cut(MIB), faulty.whole)),
    Case("206 without `Content-Range`, from 0", (cut(MIB), faulty.silent_206)),
    Case("206, a `Content-Range` from before", (cut(MIB), faulty.shifted_206(-7))),
    Case("206, a `Content-Range` from beyond", (cut(MIB), faulty.shifted_206(7), faulty.whole)),
    Case("all bytes, no end; then 416", (faulty.unended, faulty.nothing_left)),
    Case("no `Content-Length`", (faulty.unannounced,)),
    Case("fewer bytes announced than declared", (faulty.announced(-100),), last_for_ever=True),
    Case("more bytes than declared", (faulty.too_many,), last_for_ever=True),
    Case("a wrong bit, once", (faulty.other_bytes,)),
    Case("a wrong bit, always", (faulty.other_bytes,), last_for_ever=True),
    Case("redirect to another host", prepare=elsewhere),
    Case("the redirect's URL is denied three times", prepare=denied),
    Case("named as gzip, and is not", (faulty.encoded,), last_for_ever=True),
    Case("compressed on the way", (faulty.compressed,), last_for_ever=True),
    Case("redirect in a circle", (circle,), last_for_ever=True),
    Case("the token expires in the middle", prepare=expiring),
    Case("the connection ends in the manifest", (cut(100),), part="/manifests/"),
    Case("SIGKILL at 60 %, started again", (faulty.slowly(RATE),), True, way="killed"),
    Case("two at once", (faulty.slowly(RATE),), True, way="twice"),
)
