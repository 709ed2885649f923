"""Every field of one ingest, blob, pull or push as (label, value), whole and safe for a terminal.

`status` and `info` print these fields, the screen's detail shows them. A value that continues the
label above has an empty label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import Liveness, ref_argument
from contentui.present.texts import (
    ago,
    exact_size,
    labels_text,
    moment,
    progress_text,
    rate_text,
    state_text,
)
from contentui.text import holder_text, human_size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from contentui.content.model import Holder, Info, IngestId, Status
    from contentui.index.model import Referrer
    from contentui.monitor.model import BlobRow, Group, IngestRow, TransferPart

Fields = list[tuple[str, str]]

HOLDER_UNKNOWN = "unknown: that can't be seen from here; root on the writer's machine sees it"

_MAX_REFERRERS = 100
_MAX_PARTS = 200
_MAX_NAME = 65_536
_MAX_TEXT = 4096
_SPARK_CELLS = 28
_INGEST_ORDER = (
    "ref", "argument", "namespace", "state", "offset", "rate", "history", "started", "updated",
    "holder", "part of", "comes from", "expected", "refused", "damage", "on disk",
)  # fmt: skip


def record_lines(fields: Iterable[tuple[str, str]]) -> Iterator[str]:
    """``label  value`` lines of one record, the values aligned."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"{name:<{width}}  {value}".rstrip()


def status_fields(status: Status, holders: Mapping[IngestId, Holder] | None, now_ns: int) -> Fields:
    """An ingest as a store has it; ``holders`` None: they can't be known."""
    holder = None if holders is None else holders.get(status.id)
    liveness = Liveness.FREE if holder is None else Liveness.HELD
    fields = _status_values(status, now_ns)
    fields["state"] = state_text(status, holders, now_ns)
    fields["holder"] = _holder(holder, Liveness.UNKNOWN if holders is None else liveness, now_ns)
    return _in_order(fields)


def ingest_fields(row: IngestRow, now_ns: int, history: Sequence[float] = ()) -> Fields:
    """An ingest of a view; ``history``: its rate in bytes per second, oldest first."""
    from contentui.present.bars import sparkline
    from contentui.present.columns import SHAPES, state_words

    fields = _status_values(row.status, now_ns, last_byte_ns=row.last_byte_ns)
    fields["state"] = f"{SHAPES[row.state]} {state_words(row, now_ns)}"
    fields["rate"] = _rate(row.rate, row.eta_s)
    if history:
        fields["history"] = sparkline(history, min(len(history), _SPARK_CELLS))
    fields["holder"] = _holder(row.holder, row.liveness, now_ns)
    if row.image:
        fields["part of"] = visible(row.image, 1024)
    if row.part is not None and row.part.host:
        fields["comes from"] = visible(row.part.host, 300)
    if row.part is not None and not row.status.expected:
        fields["expected"] = str(row.part.descriptor.digest)
    fields["on disk"] = f"ingest/{visible(row.status.id)}/"
    return _in_order(fields)


def _status_values(status: Status, now_ns: int, *, last_byte_ns: int = 0) -> dict[str, str]:
    argument = ref_argument(status)
    fields = {
        "ref": visible(status.ref or argument, _MAX_NAME),
        "offset": progress_text(status.offset, status.total),
        "started": moment(status.started_ns, now_ns),
        "updated": moment(last_byte_ns or status.updated_ns, now_ns),
        "expected": str(status.expected or "no digest declared"),
    }
    if argument != status.ref:
        fields["argument"] = visible(argument)
    if status.namespace:
        fields["namespace"] = visible(status.namespace, 100)
    if status.refused:
        fields["refused"] = f"{status.refused}, the digest of these bytes"
    if status.damage:
        fields["damage"] = visible(status.damage)
    return fields


def _in_order(fields: Mapping[str, str]) -> Fields:
    return [(label, fields[label]) for label in _INGEST_ORDER if label in fields]


def _holder(holder: Holder | None, liveness: Liveness, now_ns: int) -> str:
    if holder is not None:
        return holder_text(holder, now_ns, limit=_MAX_TEXT)
    return {
        Liveness.FREE: "none",
        Liveness.UNKNOWN: HOLDER_UNKNOWN,
        Liveness.HELD: "an unknown process",
    }[liveness]


def _rate(rate: float | None, eta_s: float | None) -> str:
    from contentui.present.columns import duration_text

    text = rate_text(rate)
    return text if eta_s is None else f"{text}, done in {duration_text(eta_s)}"


def info_fields(info: Info, now_ns: int) -> Fields:
    """A blob as a store has it."""
    fields = [("digest", str(info.digest)), ("size", exact_size(info.size))]
    if info.namespaces:
        fields.append(("namespaces", visible(", ".join(info.namespaces))))
    fields.append(("committed", moment(info.committed_ns, now_ns)))
    if info.updated_ns and info.updated_ns != info.committed_ns:
        fields.append(("labelled", moment(info.updated_ns, now_ns)))
    if not info.labels:
        return [*fields, ("labels", "unknown" if info.labels is None else "none")]
    texts = [labels_text({key: value}) for key, value in sorted(info.labels.items())]
    return [*fields, *_listed("labels", texts)]


def blob_fields(row: BlobRow, now_ns: int) -> Fields:
    """A blob of a view, with its kind and what refers to it."""
    from contentui.present.columns import kind_text

    fields = info_fields(row.info, now_ns)
    fields.insert(2, ("kind", "not read yet" if row.kind is None else kind_text(row)))
    if row.verified is not None:
        found = row.verified.problem or "its bytes match the digest"
        fields.insert(3, ("verified", f"{found}, {ago(row.verified.at_ns, now_ns)}"))
    place = next(place for place, (label, _) in enumerate(fields) if label == "labels")
    fields[place:place] = _referrer_fields(row)
    digest = row.info.digest
    return [*fields, ("on disk", f"blobs/{digest.algorithm}/{digest.encoded}")]


def _referrer_fields(row: BlobRow) -> Fields:
    if row.referrers is None:
        return [("used by", "unknown: it may be needed")]
    if not row.referrers:
        return [("used by", "nothing known")]
    texts = [_referrer(each) for each in row.referrers[:_MAX_REFERRERS]]
    if more := len(row.referrers) - len(texts):
        texts.append(f"and {more:,} more")
    return _listed("used by", texts)


def _referrer(by: Referrer) -> str:
    text = visible(by.text)
    return text if by.digest is None or by.digest in by.name else f"{text} ({by.digest})"


def _listed(label: str, texts: Iterable[str]) -> Fields:
    return [("" if place else label, text) for place, text in enumerate(texts)]


def group_fields(group: Group, now_ns: int) -> Fields:
    """A pull or push, with each of its parts: those that are not done first."""
    from contentui.present.groups import ENDED, transfer_process

    transfer = group.transfer
    total = human_size(group.total) if group.total else "?"
    parts = sorted(transfer.parts, key=lambda part: part.phase in ENDED)[:_MAX_PARTS]
    texts = [part_text(part) for part in parts]
    if more := len(transfer.parts) - len(parts):
        texts.append(f"and {more:,} more")
    return [
        ("arrived", f"{human_size(group.offset)} of {total}"),
        ("rate", _rate(group.rate, group.eta_s)),
        *_listed("parts", texts),
        ("process", transfer_process(transfer, _MAX_TEXT)),
        ("started", moment(transfer.started_ns, now_ns)),
    ]


def part_text(part: TransferPart) -> str:
    """``sha256:84ff… 1.2 MB of 5.0 MB, retrying in 4s (3/6): …``."""
    from contentui.present.groups import ENDED

    size = human_size(max(part.descriptor.size, 0))
    arrived = size if part.phase in ENDED else f"{human_size(max(part.offset, 0))} of {size}"
    status = visible(part.message, 400) or str(part.phase)
    return f"{part.descriptor.digest}  {arrived}, {status}"


def detail_fields(
    row: IngestRow | BlobRow | Group, now_ns: int, history: Sequence[float] = ()
) -> Fields:
    """The fields of any row of a view; ``history`` as in `ingest_fields`."""
    from contentui.monitor.model import Group, IngestRow

    if isinstance(row, Group):
        return group_fields(row, now_ns)
    if isinstance(row, IngestRow):
        return ingest_fields(row, now_ns, history)
    return blob_fields(row, now_ns)


def sentences(row: IngestRow | BlobRow | Group) -> list[tuple[str, str]]:
    """A row's state as sentences, each with its style word; none for a blob."""
    from contentui.monitor.model import Group, IngestRow
    from contentui.present.columns import STATE_STYLES, part_note
    from contentui.present.groups import group_sentence

    if isinstance(row, Group):
        return [group_sentence(row)]
    if not isinstance(row, IngestRow):
        return []
    note = part_note(row)
    state = visible(row.reason), STATE_STYLES[row.state]
    return [(note[0], "warn"), state] if note[0] else [state]
