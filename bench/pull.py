"""Images out of and into a registry: we, skopeo and ctr, all as whole processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.grpc_servers import UncollectedContainerd, client, succeed
from bench.measure import Failed, Figure, Judged, Row, Skipped, Subject, judge
from bench.peers import Containerd, Missing, need
from bench.programs import contentui
from bench.registry import Registry, make_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work

OURS, SKOPEO, CTR = "contentui pull", "skopeo copy", "ctr content fetch"
LARGE, SMALL, ONE = "bench/large", "bench/small", "bench/one"
MEMORY_MIB = 80


class Taken:
    """Runs processes; remembers the CPU and the memory of each."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}
        self.peak_kib = 0

    def run(self, name: str, argv: Sequence[object]) -> float:
        """Seconds from start to end. Raises Failed: it ended with an error."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr
        words = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode:
            said = words[-500:].decode(errors="replace").strip()
            raise Failed(f"{argv[0]} ended with {process.returncode}: {said}")
        self.cpu.setdefault(name, []).append(used.ru_utime + used.ru_stime)
        if name.startswith("contentui"):
            self.peak_kib = max(self.peak_kib, used.ru_maxrss)
        return seconds

    def rows(self, bench: Bench, judged: Sequence[Judged]) -> Iterator[Row]:
        """The CPU of the processes of the last rows, without daemons."""
        last = {name: each[-bench.rounds :] for name, each in self.cpu.items()}
        for row in judged:
            label = f"{row.work}: CPU of the clients"
            yield judge(row._replace(work=label, target=None), last, 0.0, "CPU")
        self.cpu.clear()


def measure(bench: Bench, work: Work) -> Iterator[Row | Figure | Skipped]:
    """All rows of this theme."""
    need("skopeo", "skopeo")
    taken = Taken()
    root = work.fresh("registry")
    with Registry(root) as registry:
        assert registry.process
        mib = bench.scaled(64, 8)
        registry.put_image(LARGE, 8, mib << 20)
        registry.put_image(SMALL, 100, 16 << 10)
        registry.put_image(ONE, 1, bench.scaled(1024, 256) << 20)
        with bench.serving([registry.process.pid]):
            yield from large(bench, work, taken, registry, f"8 layers of {mib} MiB")
            yield from small(bench, work, taken, registry)
            yield from resumed(bench, work, taken, registry)
    yield from over_tls(bench, work, taken, root, f"8 layers of {mib} MiB")
    yield from pushed(bench, work, taken, root, f"8 layers of {mib} MiB")
    peak = taken.peak_kib / 1024
    yield Figure(
        "most memory of any pull and push above", peak, "MiB", MEMORY_MIB, ours="contentui"
    )


def compared(
    bench: Bench, taken: Taken, subjects: Mapping[str, Subject], rows: Sequence[Judged]
) -> Iterator[Row]:
    yield from bench.compare(subjects, rows)
    yield from taken.rows(bench, rows)


def in_fresh(
    work: Work, taken: Taken, name: str, command: Callable[[Path], Sequence[object]]
) -> float:
    """The time of a command on a new directory, which is removed again."""
    place = work.fresh()
    try:
        return taken.run(name, command(place))
    finally:
        work.drop(place)


def pulls(registry: Registry, image: str, *options: str) -> Callable[[Path], list[str]]:
    return lambda place: contentui(place, "pull", *options, f"{registry.host}/{image}:v1")


def copies(registry: Registry, image: str, *options: str) -> Callable[[Path], list[str]]:
    """Skopeo's command line, without TLS unless ``options`` configure it."""
    chosen = options or ("--src-tls-verify=false",)
    source = f"docker://{registry.host}/{image}:v1"
    return lambda place: [need("skopeo", "skopeo"), "copy", *chosen, source, f"dir:{place}"]


def through_daemon(
    work: Work, taken: Taken, name: str, command: Callable[[Containerd], Sequence[object]]
) -> float:
    """The time of a command on a containerd that is new, too."""
    place = work.fresh("ctd")
    try:
        with UncollectedContainerd(place) as daemon:
            return taken.run(name, command(daemon))
    finally:
        work.drop(place)


def large(
    bench: Bench, work: Work, taken: Taken, registry: Registry, words: str
) -> Iterator[Row | Skipped]:
    name = f"{registry.host}/{LARGE}:v1"
    into = f"{OURS} into containerd"

    def fetch(daemon: Containerd) -> Sequence[object]:
        return daemon.ctr("content", "fetch", "--plain-http", name)

    subjects = {
        OURS: Subject(partial(in_fresh, work, taken, OURS, pulls(registry, LARGE)), python=True),
        SKOPEO: Subject(partial(in_fresh, work, taken, SKOPEO, copies(registry, LARGE))),
    }
    rows = [Judged(f"{words} into a directory", OURS, SKOPEO, 0.27)]
    try:
        with UncollectedContainerd(work.fresh("ctd")):
            pass
    except Missing as missing:
        yield Skipped(f"{words} / ctr", str(missing))
    else:
        subjects[CTR] = Subject(partial(through_daemon, work, taken, CTR, fetch))
        subjects[into] = Subject(
            partial(through_daemon, work, taken, into, lambda at: client(at.socket, "pull", name)),
            python=True,
        )
        rows.append(Judged(f"{words} into a directory", OURS, CTR, 0.28))
        rows.append(Judged(f"{words} into a containerd", into, CTR, 1.0))
    yield from compared(bench, taken, subjects, rows)


def small(bench: Bench, work: Work, taken: Taken, registry: Registry) -> Iterator[Row]:
    subjects = {
        OURS: Subject(partial(in_fresh, work, taken, OURS, pulls(registry, SMALL)), python=True),
        SKOPEO: Subject(partial(in_fresh, work, taken, SKOPEO, copies(registry, SMALL))),
    }
    row = Judged("100 layers of 16 KiB into a directory", OURS, SKOPEO, 0.40)
    yield from compared(bench, taken, subjects, [row])


def resumed(bench: Bench, work: Work, taken: Taken, registry: Registry) -> Iterator[Row]:
    """What is left of a pull that was killed, against all of a copy."""
    size = bench.scaled(1024, 256) << 20
    ours = f"{OURS}, the rest"

    def go_on() -> float:
        place = work.fresh()
        try:
            command = pulls(registry, ONE)(place)
            interrupt(command, place, size * 9 // 10)
            return taken.run(ours, command)
        finally:
            work.drop(place)

    subjects = {
        ours: Subject(go_on, python=True),
        SKOPEO: Subject(partial(in_fresh, work, taken, SKOPEO, copies(registry, ONE))),
    }
    row = Judged(f"resume of a layer of {size >> 20} MiB, killed at 90 %", ours, SKOPEO, 0.5)
    yield from compared(bench, taken, subjects, [row])


def interrupt(command: Sequence[str], store: Path, wanted: int) -> None:
    """Kill a pull as soon as it has so many bytes.

    Raises:
        Failed: it ended before, or the bytes are gone.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pull:
        while pull.poll() is None and most_bytes(store) < wanted:
            time.sleep(0.0005)
        pull.kill()
    found = most_bytes(store)
    if not wanted <= found <= wanted * 1.1:
        raise Failed(f"a pull that was killed at {wanted} bytes has left {found}")
    os.sync()


def most_bytes(store: Path) -> int:
    sizes = [0]
    with contextlib.suppress(OSError):
        sizes += [path.stat().st_size for path in store.glob("ingest/*/data")]
    return max(sizes)


def over_tls(bench: Bench, work: Work, taken: Taken, root: Path, words: str) -> Iterator[Row]:
    keys = make_keys(work.fresh("keys"))
    with Registry(root, keys) as registry:
        assert registry.process
        trust = ("--tls-ca", str(keys / "tls.crt"))
        certificates = ("--src-cert-dir", str(keys / "trusted"))
        subjects = {
            OURS: Subject(
                partial(in_fresh, work, taken, OURS, pulls(registry, LARGE, *trust)), python=True
            ),
            SKOPEO: Subject(
                partial(in_fresh, work, taken, SKOPEO, copies(registry, LARGE, *certificates))
            ),
        }
        row = Judged(f"{words} over TLS into a directory", OURS, SKOPEO, 0.35)
        with bench.serving([registry.process.pid]):
            yield from compared(bench, taken, subjects, [row])


def pushed(bench: Bench, work: Work, taken: Taken, root: Path, words: str) -> Iterator[Row]:
    """Each run has a registry of its own: neither side can mount what it sent before."""
    ours = "contentui push"
    store, copied = work.fresh("store"), work.fresh("copied")
    with Registry(root) as registry:
        succeed(pulls(registry, LARGE)(store))
        succeed(copies(registry, LARGE)(copied))
        source = f"{registry.host}/{LARGE}:v1"

    def send(name: str, command: Callable[[str], Sequence[object]]) -> float:
        place = work.fresh("to")
        try:
            with Registry(place) as target:
                return taken.run(name, command(f"{target.host}/bench/pushed:v1"))
        finally:
            work.drop(place)

    def copy(to: str) -> Sequence[object]:
        skopeo = [need("skopeo", "skopeo"), "copy", "--dest-tls-verify=false"]
        return [*skopeo, f"dir:{copied}", f"docker://{to}"]

    subjects = {
        ours: Subject(
            partial(send, ours, lambda to: contentui(store, "push", to, source)), python=True
        ),
        SKOPEO: Subject(partial(send, SKOPEO, copy)),
    }
    row = Judged(f"push of {words}", ours, SKOPEO, 0.6)
    yield from compared(bench, taken, subjects, [row])
