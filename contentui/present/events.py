"""The one place that makes sentences of a monitor's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contentui.content.model import ref_argument
from contentui.glyphs import GLYPHS
from contentui.monitor import events
from contentui.text import visible

if TYPE_CHECKING:
    from contentui.content.model import Status

_REF_WIDTH = 200
_NAMESPACE_WIDTH = 80


def event_text(event: events.Event) -> str:
    """An event as one line, safe for a terminal."""
    match event:
        case events.IngestAppeared(status):
            total = f" of {status.total}" if status.total else ""
            return f"{_name(status)} appeared, {status.offset}{total} bytes"
        case events.IngestStateChanged(status, before, after):
            return f"{_name(status)} {before} {GLYPHS.becomes} {after}"
        case events.IngestCommitted(status, info):
            return f"{_name(status)} committed as {info.digest}, {info.size} bytes"
        case events.IngestGone(status):
            return f"{_name(status)} is gone at offset {status.offset}"
        case events.BlobAdded(info):
            return f"blob {info.digest} added, {info.size} bytes"
        case events.BlobRemoved(info):
            return f"blob {info.digest} deleted, {info.size} bytes"
        case events.ConnectionLost(reason):
            return f"the store can't be read: {visible(reason)}"
        case events.ConnectionRestored():
            return "the store can be read again"
        case events.EventsOmitted(number):
            return f"and {number} more changes"


def _name(status: Status) -> str:
    """An ingest's ref, and its namespace where it has one."""
    where = f" ({visible(status.namespace, _NAMESPACE_WIDTH)})" if status.namespace else ""
    return visible(ref_argument(status), _REF_WIDTH) + where
