"""The screen on a real terminal: what it costs, and how soon it answers."""

from __future__ import annotations

import random
import re
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.live_ingests import LiveIngests
from bench.measure import Figure, await_quiet
from bench.programs import api, contentui, lines
from bench.terminal import CALIBRATION_REFERENCE_S, Terminal, calibrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.measure import Bench
    from bench.work import Work

DOWN, TAB = b"\x1b[B", b"\t"
INGEST, BLOB = (
    re.compile(rb"\xe2\x80\xba(?:\x1b\[[0-9;]*m)*(" + name + rb"[^\s\x1b]+)")
    for name in (rb"layer-sha256:", rb"(?:sha256:)?[0-9a-f]{4}")
)
"""Patterns for the text of the row under each pane's cursor."""


def measure(bench: Bench, work: Work) -> Iterator[Figure]:
    """All figures of this theme."""
    yield from small_store(bench, work)
    yield from changing(bench, work)
    yield from with_many_ingests(bench, work)


def screen_of(store: Path) -> Terminal:
    """The dashboard on a store, whose header shows the directory's bare name."""
    program, _, _, *rest = contentui(store, "ui")
    return Terminal([program, "--store", store.name, *rest], store.parent)


def painted(terminal: Terminal, store: Path) -> float:
    """Seconds from the start of the process to a header that names the store."""
    name = store.name.encode()
    return terminal.await_output(lambda output: name in output) - terminal.begun


def calibrated(share: float, loops: list[float]) -> float:
    """A share of a core as it would be on the machine for which the limits were set."""
    return share * CALIBRATION_REFERENCE_S / median(loops)


def share_figure(work: str, terminal: Terminal, seconds: float, limit: float) -> Figure:
    loops = [calibrate()]
    share = terminal.share(seconds)
    loops.append(calibrate())
    value = calibrated(share, loops) * 100
    note = f"{share:.2%} of a core over {seconds:g} s, calibration {median(loops) * 1000:.1f} ms"
    return Figure(work, value, "%", limit, note)


def small_store(bench: Bench, work: Work) -> Iterator[Figure]:
    store = work.fresh("screen")
    lines(api(store, "fill", "200"))
    lines(api(store, "live", "20"))
    times = []
    for _ in range(bench.rounds + 1):
        await_quiet(bench.quiet)
        with screen_of(store) as terminal:
            times.append(painted(terminal, store) * 1000)
    note = f"median of {bench.rounds}, worst {max(times[1:]):.0f}"
    yield Figure("first paint", median(times[1:]), "ms", 500, note)
    await_quiet(bench.quiet)
    with screen_of(store) as terminal:
        painted(terminal, store)
        time.sleep(12)  # for ten seconds it looks closely at what it has just met
        seconds = bench.scaled(20, 6)
        yield share_figure("CPU, nothing happens", terminal, seconds, 1)


def changing(bench: Bench, work: Work) -> Iterator[Figure]:
    store = work.fresh("screen")
    with LiveIngests(store, 1000) as live_ingests, screen_of(store) as terminal:
        painted(terminal, store)
        live_ingests.rate(10, 1000)
        time.sleep(4)
        seconds = bench.scaled(20, 6)
        yield share_figure("CPU, 1,000 ingests change at 10 Hz", terminal, seconds, 12)


def with_many_ingests(bench: Bench, work: Work) -> Iterator[Figure]:
    blobs, ingests = bench.scaled(100_000, 10_000), bench.scaled(10_000, 1_000)
    label = f"with {ingests:,} live ingests and {blobs:,} blobs"
    store = work.fresh("screen")
    lines(api(store, "fill", str(blobs)))
    with LiveIngests(store, ingests) as live_ingests, screen_of(store) as terminal:
        first = painted(terminal, store) * 1000
        yield Figure(f"first paint {label}", first, "ms", 500, "once")
        live_ingests.rate(1, min(ingests, 1000))
        time.sleep(bench.scaled(10, 4))
        seconds = bench.scaled(20, 6)
        yield share_figure(f"CPU {label}, 1,000 of them change each second", terminal, seconds, 100)
        count = bench.scaled(100, 30)
        answers = answers_to(terminal, INGEST, count)
        terminal.press(TAB)
        time.sleep(0.5)
        answers += answers_to(terminal, BLOB, count)
        yield percentile(f"a key's answer {label}, p95", answers, 50)
        yield percentile(f"a filter's key {label}, p95", typed(terminal, 12), 50)
        yield Figure(f"memory {label}", terminal.memory() / 1e6, "MB", 250, "resident")


def percentile(work: str, answers: list[float], limit: float) -> Figure:
    ordered = sorted(answers)
    note = f"{len(ordered)} keys, median {median(ordered):.0f}, worst {ordered[-1]:.0f} ms"
    return Figure(work, ordered[int(len(ordered) * 0.95)], "ms", limit, note)


def answers_to(terminal: Terminal, cursor: re.Pattern[bytes], count: int) -> list[float]:
    """Milliseconds from each press of 'down' to the output that shows the cursor elsewhere."""
    here, answers = cursor.findall(output_since(terminal, 0))[-1], []
    for _ in range(count):
        since = len(terminal.pieces)
        pressed = terminal.press(DOWN)
        at = terminal.await_output(moved_from(here, cursor), since)
        answers.append((at - pressed) * 1000)
        time.sleep(random.uniform(0.05, 0.25))
        here = cursor.findall(output_since(terminal, since))[-1]
    return answers


def output_since(terminal: Terminal, piece: int) -> bytes:
    return b"".join(output for _, output in terminal.pieces[piece:])


def moved_from(here: bytes, cursor: re.Pattern[bytes]) -> Callable[[bytes], bool]:
    return lambda output: any(name != here for name in cursor.findall(output))


def echo_of(text: bytes) -> Callable[[bytes], bool]:
    return lambda output: text in output


def typed(terminal: Terminal, count: int) -> list[float]:
    """Milliseconds from each key in the filter's line to its echo."""
    terminal.press(b"/")
    time.sleep(0.5)
    answers, text = [], b""
    for _ in range(count):
        since = len(terminal.pieces)
        text += random.choice(b"qwxyz").to_bytes()
        pressed = terminal.press(text[-1:])
        at = terminal.await_output(echo_of(text[-2:]), since)
        answers.append((at - pressed) * 1000)
        time.sleep(random.uniform(0.2, 0.4))
    terminal.press(b"\x1b")
    return answers[1:]
