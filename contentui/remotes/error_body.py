"""What the body of a failed request tells: codes and one short text, from any usual format.

Known are the registries' own (OCI distribution specification, "Error Codes"), JSON of other
shapes, XML of object stores (S3's "Error Responses"), text, and the title of an HTML page.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from contentui.text import visible

_MAX_ERRORS = 8
_MAX_SHOWN = 500
_MAX_TEXT = 300
_JSON_TEXTS = ("message", "error_description", "detail", "details", "title", "error", "reason")
"""Keys of a message in JSON objects: RFC 6749 section 5.2, RFC 9457, and common habit."""
_TITLE = re.compile(r"(?is)<(title|h1)[^>]*>(.*?)</\1\s*>")
_XML_ERROR = re.compile(r"(?s)^\s*(?:<\?xml[^>]*\?>)?\s*<(?:\w+:)?Error\b")


class Problem(NamedTuple):
    """A body's content; empty where it tells nothing."""

    codes: tuple[str, ...] = ()
    """Codes of a registry, as ``MANIFEST_UNKNOWN``; untrusted text."""
    text: str = ""
    """One line, safe to print."""


def parse_problem(raw: bytes, content_type: str) -> Problem:
    """What the first bytes of a body tell."""
    text = raw.decode("utf-8", "replace").strip()
    if not text:
        return Problem()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Problem((), _shown(_plain_text(text, content_type)))
    try:
        errors = found["errors"]
        listed = [(_field(each, "code"), _field(each, "message")) for each in errors[:_MAX_ERRORS]]
    except (KeyError, TypeError, AttributeError):
        return Problem((), _shown(_json_text(found)))
    codes = tuple(code for code, _ in listed if code)
    return Problem(codes, _shown("; ".join(" ".join(pair).strip() for pair in listed)))


def _field(error: dict[str, Any], name: str) -> str:
    return str(error.get(name) or "")[: 100 if name == "code" else _MAX_TEXT]


def _json_text(found: Any) -> str:
    """The message in JSON of another shape."""
    for _ in range(3):  # as in {"error": {"message": …}}
        if isinstance(found, list) and found:
            found = found[0]
        if not isinstance(found, dict):
            break
        found = next((found[key] for key in _JSON_TEXTS if found.get(key)), "")
    return found if isinstance(found, str) else ""


def _plain_text(text: str, content_type: str) -> str:
    if _XML_ERROR.match(text):
        parts = [re.search(rf"(?s)<{name}>(.*?)</{name}>", text) for name in ("Code", "Message")]
        return " ".join(_unescaped(part[1]) for part in parts if part)
    if "html" in content_type.lower() or text[:200].lstrip().lower().startswith(("<!doc", "<html")):
        title = _TITLE.search(text)
        return _unescaped(title[2]) if title else ""
    if text.startswith("<") or "\ufffd" in text or "\0" in text:
        return ""  # other markup, or no text at all
    return text


def _unescaped(text: str) -> str:
    import html

    return html.unescape(re.sub(r"<[^>]*>", "", text))


def _shown(text: str) -> str:
    return visible(" ".join(text.split())[:_MAX_SHOWN], _MAX_SHOWN)
