"""What a probe told, in words: each case ends with what to do."""

from __future__ import annotations

import pytest

from contentui.actions.probe import Finding, finding
from contentui.content.digest import EMPTY, Digest
from contentui.content.holder import Process
from contentui.content.model import Holder, Liveness, Probe, Status, backend_ref, ingest_id
from contentui.present.probes import probe_cost, probe_lines

NOW = 1_700_000_000 * 10**9
GOOD, OTHER = Digest.of(b"good"), Digest.of(b"other")


def status(ref="layer", offset=10, total=10, **more):
    fields = {"started_ns": 1, "updated_ns": 2, "expected": None, **more}
    ident = ingest_id(backend_ref(fields.get("namespace", ""), ref))
    return Status(ref, offset, total, id=ident, **fields)


def free(digest=GOOD, **more):
    return Probe(status(**more), Liveness.FREE, None, digest)


def text(probe):
    lines = probe_lines(probe, NOW)
    assert lines[0].style == "name"
    assert all(line.text.isprintable() for line in lines)
    return "\n".join(line.text for line in lines[1:]), lines[1].style


CASES = [
    (free(expected=GOOD), Finding.RIGHT, "good", "with the expected digest"),
    (free(ref=f"layer-{GOOD}"), Finding.RIGHT, "good", "start the same pull or ingest again"),
    (free(total=0, expected=GOOD), Finding.RIGHT, "good", "Only the commit is missing"),
    (free(), Finding.COMPLETE, "text", "the expected digest is unknown"),
    (free(expected=GOOD, total=20), Finding.RIGHT, "good", ""),
    (free(OTHER, expected=GOOD, total=20), Finding.PARTIAL, "text", "resumes from there"),
    (free(OTHER, total=0), Finding.PARTIAL, "text", f"10 B are there; their digest is {OTHER}"),
    (free(EMPTY, offset=0), Finding.PARTIAL, "text", "nothing has arrived"),
    (free(OTHER, ref=f"layer-{GOOD}"), Finding.COMPLETE, "text", f"contains another one, {GOOD}"),
    (free(OTHER, expected=GOOD), Finding.POISONED, "danger", f"wrong digest: {OTHER}, not {GOOD}"),
    (free(OTHER, expected=GOOD, refused=OTHER), Finding.POISONED, "danger", "abort it, then pull"),
    (free(None, damage="no \x1b data"), Finding.DAMAGED, "danger", "Abort it"),
    (
        free(OTHER, ref=f"layer-{Digest.of(b'good', 'sha512')}"),
        Finding.COMPLETE,
        "text",
        "their digest is",
    ),
]


@pytest.mark.parametrize(("probe", "what", "style", "words"), CASES)
def test_of_a_free_one(probe, what, style, words):
    assert finding(probe) is what
    said, shown = text(probe)
    assert words in said
    assert shown == style


def test_of_a_held_one():
    holder = Holder(42, 0, "curl \x1b[0m", NOW - 180 * 10**9)
    said, style = text(Probe(status(), Liveness.HELD, holder))
    assert style == "warning"
    assert "Held by a live writer: pid 42 (curl \\x1b[0m), since 3m." in said
    assert "An abort makes its commit fail." in said


@pytest.mark.parametrize("holder", [None, Holder(0, 0, "", 0), Holder(0, 0, "", NOW + 9**20)])
def test_of_one_that_nobody_can_name(holder):
    said, _ = text(Probe(status(), Liveness.HELD, holder))
    assert said.startswith("Held by a live writer: an unknown process.")


def test_the_namespace_is_named():
    (name, *_) = probe_lines(free(namespace="k8s.io"), NOW)
    assert name.text == "layer (namespace k8s.io)"


def test_what_it_costs():
    assert probe_cost(status(offset=10**10), garbage_collected=False) == ""
    assert probe_cost(status(offset=10**6), garbage_collected=True) == ""
    assert "reads all its 10.0 GB" in probe_cost(status(offset=10**10), garbage_collected=True)


def test_nobody_is_told_to_end_the_daemon():
    holder = Holder(0, 0, "", 0, daemon=Process(1, "containerd"))
    said, _ = text(Probe(status(), Liveness.HELD, holder))
    assert "an unknown client of containerd (pid 1)" in said
    assert "end that pull and not the daemon" in said
