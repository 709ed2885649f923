"""Rows for the tests of tables, made by hand."""

from contentui.content.digest import Digest
from contentui.content.model import Info, Liveness, Status, ingest_id
from contentui.monitor.model import BlobRow, IngestRow
from contentui.monitor.states import IngestState
from contentui.oci.kinds import Kind

SECOND = 10**9
NOW = 1_763_700_000 * SECOND


def ingest(
    ref, offset=10, total=100, *, state=IngestState.MOVING, rate=0.0, age=8, silent=0, **more
):
    status = Status(
        ref, offset, total, NOW - age * SECOND, NOW - silent * SECOND, None, ingest_id(ref),
        more.pop("damage", ""),
    )  # fmt: skip
    eta = (total - offset) / rate if rate and total else None
    more.setdefault("liveness", Liveness.HELD)
    return IngestRow(
        status, state, more.pop("reason", "Bytes come in."), rate=rate, eta_s=eta,
        last_byte_ns=NOW - silent * SECOND, **more,
    )  # fmt: skip


def blob(seed, size=1000, referrers=(), kind=Kind.CONFIG, age=60):
    digest = Digest.of(str(seed).encode())
    return BlobRow(Info(digest, size, NOW - age * SECOND, 0, {}), kind, referrers)


HOSTILE = [
    "evil\x1b]0;title\x07\x1b[31m",
    "c1\x9b31m\x85next",
    "bidi\u202egnp.exe\u2066x",
    "[/nope] [bold red]markup[/] [@click=app.quit]x[/]",
    "wide-" + "日本語" * 40,
    "emoji-" + "👩\u200d👩\u200d👧" * 20,
    "zalgo" + "\u0301" * 500,
    "lines\nand\ttabs\r",
    "bad-utf8-\udcff\udcfe",
    "zero\u200bwidth\ufeff",
    "x" * 5000,
]
