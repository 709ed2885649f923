"""What a registry's refusals mean, in words (dist-and-registry.md 3 and 5)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from contentui.content.errors import ContentError
from contentui.remotes.breaks import without_query
from contentui.remotes.errors import Denied, Interrupted, Missing, Refused
from contentui.text import visible

if TYPE_CHECKING:
    from contentui.remotes.http import Answer

_MAX_BODY = 64 * 1024
_MAX_CODES = 8
_PATIENCE = (408, 425, 429)


class _Told(NamedTuple):
    code: str
    message: str


def refusal(answer: Answer, what: str) -> Interrupted | Refused:
    """The error that an answer stands for, with the registry's own words; ends the answer.

    Args:
        answer: one whose status is no success.
        what: what was asked for, as in "no access to ...": a name, safe to print.
    """
    told = _told(answer)
    status, host = answer.status, visible(answer.host)
    answer.close()
    own = "; ".join(f"{each.code} {each.message}".strip() for each in told)
    words = f": {visible(own, 500)}" if own else ""
    codes = tuple(each.code for each in told)
    if status in _PATIENCE or status >= 500:
        return Interrupted(
            f"{host} answers {status} {_reason(status)}{words}",
            host=answer.host,
            after_s=retry_after_s(answer.headers.get("Retry-After")),
        )
    if status in (401, 403):
        return Denied(
            f"{host} refuses access to {what}{words}",
            host=answer.host,
            status=status,
            codes=codes,
            advice="log in to it (docker login, skopeo login), or give --user",
        )
    if status in (404, 410):
        return Missing(
            f"{host} does not have {what}{words}", host=answer.host, status=status, codes=codes
        )
    return Refused(
        f"{host} answers {status} {_reason(status)} to {visible(without_query(answer.url), 200)}"
        f"{words}",
        host=answer.host,
        status=status,
        codes=codes,
    )


def retry_after_s(value: str | None, now_s: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None: neither."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime

    try:
        at_s = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(at_s - (time.time() if now_s is None else now_s), 0.0)


def _told(answer: Answer) -> list[_Told]:
    """The registry's errors; none where the body is something else."""
    # A 416 may announce the length of the whole blob and never send it.
    if answer.status == 416:
        return []
    try:
        errors = json.loads(answer.read(_MAX_BODY))["errors"]
        return [
            _Told(str(each.get("code", ""))[:100], str(each.get("message", ""))[:300])
            for each in errors[:_MAX_CODES]
        ]
    except (ContentError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _reason(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
