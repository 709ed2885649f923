"""docs/json.md lists every field of every JSON record, with the type that the code prints."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import pytest

from contentui.actions.journal import Journal
from contentui.actions.model import Concern, Outcome, Plan, Result, Step, Verb
from contentui.actions.records import finding_to_json, holder_to_json, repaired_to_json
from contentui.content.digest import Digest
from contentui.content.holder import Process
from contentui.content.model import (
    Descriptor,
    Holder,
    Image,
    Info,
    Lease,
    Liveness,
    Probe,
    Status,
    Usage,
    ingest_id,
)
from contentui.index.image_sizes import Sizes
from contentui.index.model import Referrer
from contentui.monitor.model import BlobRow, Freshness, Health, IngestRow, StoreView
from contentui.monitor.states import IngestState
from contentui.oci.kinds import Kind
from contentui.present import records
from contentui.present.plans import outcome_record, step_record
from contentui.remotes.credentials import Place
from contentui.stores.local.fsck import Finding, Repaired
from contentui.stores.local.fsck_model import Kind as Damage
from contentui.transfers.model import Part, Phase, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOC = Path(__file__).parents[2] / "docs" / "json.md"
NOW = 1_763_700_000 * 10**9
DIGEST = Digest.of(b"x")
LEASES = (
    Lease("l", {"a": "b"}, 10**18, 10**18, (DIGEST,), ("r",), 1, "default"),
    Lease("l", {}, 0, 0),
)
TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "time": (str, type(None)),
    "digest": str,
}


def _steps(
    status: Status, info: Info, image: Image, holder: Holder, referrer: Referrer
) -> dict[str, list[Step]]:
    """Steps of plans for each kind of item."""
    idle = Status("x", 0, 0, 0, 0, None, ingest_id("y"))
    return {
        "plan step of an ingest": [
            Step(Verb.ABORT, status, 5, holder),
            Step(Verb.TRUNCATE, idle, 0),
        ],
        "plan step of a blob": [
            Step(Verb.DELETE, info, 5, referrers=(referrer,), freed_by=(DIGEST,)),
            Step(Verb.DELETE, info, 5, referrers=None, concerns=frozenset(Concern)),
        ],
        "plan step of an image": [Step(Verb.UNTAG, image, 5, unreferenced=(info,))],
        "plan step of a lease": [Step(Verb.RELEASE, each, 5) for each in LEASES],
    }


def _plan_samples(steps: dict[str, list[Step]]) -> dict[str, list[dict[str, Any]]]:
    """Each step as planned and as tried."""
    return {
        name: [
            record
            for step in some
            for plan in (Plan(step.verb, "s", (step,)),)
            for record in (
                step_record(step, plan),
                outcome_record(Outcome(step, Result.SKIPPED, "r"), plan),
            )
        ]
        for name, some in steps.items()
    }


def _journal_entries(steps: Iterable[Step], repaired: Repaired) -> list[dict[str, Any]]:
    """Each step, and a repair, as the journal has them."""
    with NamedTemporaryFile() as file:
        journal = Journal(file.name)
        for step in steps:
            journal.write("s", Outcome(step, Result.SKIPPED, "r"), NOW)
        journal.write_facts("s", {"verb": "repair", **repaired_to_json(repaired)}, NOW)
        return journal.tail(100)


def _samples() -> dict[str, list[dict[str, Any]]]:
    """Records of each heading: with everything known, and with nothing."""
    info = Info(DIGEST, 5, NOW, NOW, {"a": "b"}, ("default",))
    bare = Info(DIGEST, 0, 0, 0, None)
    holder = Holder(42, NOW, "curl \udcff", NOW, foreign=True)
    unknown = Holder(0, 0, "", 0, daemon=Process(1, "containerd"), clients=(Process(2, "ctr"),))
    status = Status(
        "bad-\udcff", 5, 10, NOW, NOW, DIGEST, ingest_id("x"), "torn", DIGEST, "default"
    )
    idle = Status("x", 0, 0, 0, 0, None, ingest_id("y"))
    row = IngestRow(status, IngestState.MOVING, "r", Liveness.HELD, holder, 1.5, 2.5, NOW)
    idle_row = IngestRow(idle, IngestState.MOVING, "r", Liveness.UNKNOWN)
    referrer = Referrer("manifest", "m", DIGEST)
    blobs = (BlobRow(info, Kind.CONFIG, (referrer, Referrer("image", "i"))), BlobRow(bare))
    health = Health(Freshness.STALE, "gone", NOW)
    views = [
        StoreView(1, NOW, "s", "why", (row,), blobs, {IngestState.MOVING: 1}, 5, 1.5, (), health,
                  Usage(10, 5)),
        StoreView(1, NOW, "s", "", (), (), {}, 0, 0.0, (), Health(Freshness.LIVE)),
    ]  # fmt: skip
    image = Image("i", Descriptor("m", DIGEST, 5), {}, NOW, NOW, "default")
    root = image.target
    part = Part(root, "layer-x", Phase.RETRYING, 1, 1, "retrying", "host")
    transfers = [Transfer("pull", "i", 1, NOW, (part,)), Transfer("pull", "i", 1, 0, error="no")]
    findings = [Finding(Damage.FOREIGN, "n", "p", "r", "a"), Finding(Damage.FOREIGN, "n", "p")]
    steps = _steps(status, info, image, holder, referrer)
    view_records = [records.store_view_record(view, blobs=True) for view in views]
    view_blobs = view_records[0]["blobs"]
    return {
        "blob": [records.info_record(info), records.info_record(bare)],
        "ingested blob": [records.written_record(info, "created", 0)],
        "ingest": [
            records.held_record(status, {status.id: holder}),
            records.held_record(idle, {}),
            records.held_record(idle, None),
        ],
        "ingest with state": [records.ingest_record(row), records.ingest_record(idle_row)],
        "change": [
            records.change_record("appeared", row, NOW),
            records.change_record("committed", row, NOW, info),
        ],
        "holder": [holder_to_json(holder) or {}, holder_to_json(unknown) or {}],
        "probed ingest": [
            records.probe_record(Probe(status, Liveness.HELD, holder, None), "held"),
            records.probe_record(Probe(idle, Liveness.FREE, None, DIGEST), "partial"),
        ],
        "verified blob": [
            records.verified_record(info, True, ""),
            records.verified_record(info, None, "p"),
        ],
        "path": [records.path_record(DIGEST, "/p")],
        "image": [records.image_record(image, Sizes(3, 2, 1, 0))],
        "lease": [records.lease_record(lease) for lease in LEASES],
        "transferred image": [
            records.transferred_record("i", root),
            records.transferred_record("", root),
        ],
        "imported image": [
            records.imported_record("i", root, DIGEST),
            records.imported_record("i", root, None),
        ],
        "pushed image": [records.pushed_record("i", root)],
        "login": [
            records.login_record("h", "u", Place("/f", "h"), tried=True),
            records.login_record("h", "u", Place("/f", "h", "pass"), tried=False),
        ],
        "logout": [
            records.logout_record("h", [], []),
            records.logout_record("h", [Place("/f", "h")], [Place("/g", "h/x", "pass")]),
        ],
        "place of credentials": records.logout_record(
            "h", [Place("/f", "h"), Place("/f", "h", "pass")], []
        )["removed"],
        "transfer part": [
            records.part_record(transfers[0], part, 1.0),
            records.part_record(transfers[0], part._replace(message="", host=""), 1.0),
        ],
        "transfer": [records.transfer_record(each) for each in transfers],
        "progress": [
            records.progress_record("p", 1, 2, 1.5, 0.5),
            records.progress_record("p", 1, 0, 0, None),
        ],
        "view": view_records,
        "health": [view["health"] for view in view_records],
        "blob of a view": view_blobs,
        "referrer": view_blobs[0]["needed_by"],
        **_plan_samples(steps),
        "finding": [
            *map(finding_to_json, findings),
            repaired_to_json(Repaired(findings[0], "done")),
        ],
        "journal entry": _journal_entries(
            chain.from_iterable(steps.values()), Repaired(findings[0], "done")
        ),
        "ready service": [
            records.ready_record(
                ["unix:///s"], store="/s", read_only=False, root="", uuid="u", pid=1
            )
        ],
    }


def _sections() -> dict[str, str]:
    """Each heading that has a table, and the text below it."""
    parts = re.split(r"^## (.+)\n", DOC.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _fields(name: str, sections: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(field, type) of a record, those of the record that it extends first."""
    text = sections[name]
    if extended := re.search(r"[aA]n? \[([^]]+)\]\(#[^)]*\)[^\n]*, and$", text, re.MULTILINE):
        yield from _fields(extended[1], sections)
    yield from re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)


def _fits(value: object, kinds: str) -> bool:
    names = kinds.split(" or ")
    if value is None:
        return "null" in names or "time" in names
    return any(
        isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
        for name in names
        if name != "null"
    )


def test_every_record_is_described():
    assert set(_sections()) == set(_samples()) | {"plan step"}  # the part that steps share


@pytest.mark.parametrize("name", _samples())
def test_the_fields_of_a_record_are_described(name):
    described = dict(_fields(name, _sections()))
    printed: dict[str, list[object]] = {}
    for record in _samples()[name]:
        for key, value in json.loads(records.json_line(record)).items():
            printed.setdefault(key, []).append(value)
    assert set(printed) == set(described)
    wrong = {
        key: (described[key], value)
        for key, values in printed.items()
        for value in values
        if not _fits(value, described[key])
    }
    assert wrong == {}
