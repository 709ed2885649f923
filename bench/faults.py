"""The fault table's command: ``python -m bench.faults [--write] [WORDS...]``."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.faults_cases import CASES, MIB
from bench.faulty import FaultyRegistry
from bench.grpc_servers import UncollectedContainerd
from bench.peers import Containerd, need
from bench.programs import contentui
from bench.table import version
from bench.work import Work
from contentui.content.digest import Digest
from contentui.demo.unpackable import Unpackable, make_unpackable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.faults_cases import Case

LIMIT_S = 60.0
"""What takes longer counts as a hang: our own timeout for a silent host is 30 s."""
SIZE = 4 * MIB
AT_ONCE = 4
KILLED_AT = 0.6
WORDS = 80
DOCUMENT = Path(__file__).parent.parent / "docs/pull.md"
BEGIN, END = "<!-- fault table -->", "<!-- end of fault table -->"

_seeds = count(1000)


class Program(NamedTuple):
    """One that pulls."""

    name: str
    command: Callable[[Path, str], Sequence[str]]
    """From a directory of its own and the image's name."""
    blobs: Callable[[Path], Path]
    """Where blobs stand afterwards, under the hexadecimal digits of their digests."""


class Result(NamedTuple):
    """How one pull ended."""

    outcome: str
    beyond: int
    """Bytes that the registry sent beyond one copy of the image."""
    seconds: float

    def cell(self) -> str:
        beyond = f"+{self.beyond / MIB:.1f} MiB" if self.beyond > MIB // 20 else "+0"
        return f"{self.outcome} · {beyond} · {self.seconds:.1f} s"


class Pull:
    """Processes of one program, and how they ended."""

    def __init__(self, program: Program, place: Path, name: str) -> None:
        self._argv = [str(each) for each in program.command(place, name)]
        self._until_s = time.monotonic() + LIMIT_S

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip

    def kill_at(self, registry: FaultyRegistry, sent: float) -> None:
        """Kill it as soon as the registry has sent so many bytes."""
        with self.start() as process:
            with registry.changed:
                registry.changed.wait_for(lambda: registry.sent >= sent, LIMIT_S)
            process.kill()
            process.communicate()
        self._until_s = time.monotonic() + LIMIT_S

    def outcome(self, process: subprocess.Popen[str]) -> str:
        try:
            _, said = process.communicate(timeout=max(self._until_s - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"**hangs** (killed after {LIMIT_S:.0f} s)"
        return f"**fails**: {shortened(said)}" if process.returncode else "ok"


def shortened(said: str) -> str:
    """The most specific part of an error: the last parts of a Go program's message."""
    lines = [line for line in said.splitlines() if re.search("error|fatal|ctr:|contentui:", line)]
    line = (lines or said.splitlines() or ["nothing"])[-1]
    line = re.sub(r'^time=.* msg="(.*)"$', r"\1", line).replace('\\"', '"')
    line = re.sub(r"https?://[^\s\"]+", "URL", re.sub(r"\b[0-9a-f]{64}\b", "…", line))
    line = re.sub(r"(->)?127\.0\.0\.1:\d+(->)?", "HOST", line).replace("HOSTHOST", "HOST")
    line = re.sub(r"^(contentui|ctr): (error: )?", "", line)
    parts = line.split(": ")
    while len(parts) > 1 and len(": ".join(parts)) > WORDS:
        del parts[0]
    line = ": ".join(parts).replace("|", "/")
    return line if len(line) <= WORDS else line[: WORDS - 1] + "…"


def run(case: Case, program: Program, place: Path) -> Result:
    """Pull a new image through one fault."""
    image = make_unpackable(next(_seeds), [SIZE])
    with FaultyRegistry() as registry, FaultyRegistry() as other:
        name = registry.add(image)
        other.add(image)
        layer = f"/blobs/{Digest.of(image.layers[0])}"
        registry.faults[case.part or layer] = list(case.faults)
        registry.for_ever = case.last_for_ever
        case.prepare(registry, other, layer)
        pull = Pull(program, place, name)
        if case.way == "killed":
            pull.kill_at(registry, KILLED_AT * SIZE)
        begun = time.monotonic()
        processes = [pull.start() for _ in range(2 if case.way == "twice" else 1)]
        outcomes = [pull.outcome(process) for process in processes]
        seconds = time.monotonic() - begun
        outcome = max(outcomes, key=lambda each: each != "ok")
        if outcome == "ok":
            outcome = checked(image, program.blobs(place))
        if any("authorization" in request.headers for request in other.seen):
            outcome += ", **shows the token to the other host**"
        once = sum(map(len, image.blobs.values()))
        return Result(outcome, registry.sent + other.sent - once, seconds)


def checked(image: Unpackable, blobs: Path) -> str:
    for digest, data in image.blobs.items():
        try:
            if (blobs / digest.partition(":")[2]).read_bytes() != data:
                return "**says ok, and has other bytes**"
        except OSError:
            return "**says ok, and has nothing**"
    return "ok"


def programs(daemon: Containerd) -> tuple[Program, ...]:
    def fetch(_: Path, name: str) -> Sequence[str]:
        return daemon.ctr("content", "fetch", "--plain-http", name)

    def copy(place: Path, name: str) -> Sequence[str]:
        skopeo = [need("skopeo", "skopeo"), "copy", "--src-tls-verify=false"]
        return [*skopeo, f"docker://{name}", f"dir:{place}"]

    return (
        Program(
            "contentui pull",
            lambda place, name: contentui(place, "pull", "--progress=none", name),
            lambda place: place / "blobs/sha256",
        ),
        Program("skopeo copy", copy, lambda place: place),
        Program("ctr content fetch", fetch, lambda _: daemon.content / "blobs/sha256"),
    )


def table(cases: Sequence[Case], subjects: Sequence[Program], work: Work) -> str:
    """All of it; several pulls at a time, since most of them wait."""
    lock = threading.Lock()

    def measured(case: Case, program: Program) -> str:
        with lock:
            place = work.fresh()
        cell = run(case, program, place).cell()
        print(f"{case.words} | {program.name} | {cell}", file=sys.stderr)
        return cell

    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = [[pool.submit(measured, case, each) for each in subjects] for case in cases]
        lines = [("fault", *(each.name for each in subjects)), ("---",) * (len(subjects) + 1)]
        lines += [
            (case.words, *(cell.result() for cell in row))
            for case, row in zip(cases, rows, strict=True)
        ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def preamble() -> str:
    peers = (version("skopeo", "--version"), version("ctr", "--version"))
    return (
        f"`make faults` pulls an image with a layer of {SIZE // MIB} MiB through each fault,"
        f" with {peers[0]}, {peers[1]}, and with us. A cell has the outcome, what the registry sent"
        " beyond one copy, and the time; after a SIGKILL, of the second run alone. An ok is checked"
        f" byte for byte. What doesn't end within {LIMIT_S:.0f} s hangs."
    )


def write(text: str) -> None:
    """Put the table between its marks in docs/pull.md."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only the faults whose names have one of these")
    parser.add_argument("--write", action="store_true", help="put the table into docs/pull.md")
    options = parser.parse_args()
    cases = [
        case for case in CASES
        if not options.words or any(each in case.words for each in options.words)
    ]  # fmt: skip
    with Work() as work, UncollectedContainerd(work.fresh("ctd")) as daemon:
        text = f"{preamble()}\n\n{table(cases, programs(daemon), work)}"
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
