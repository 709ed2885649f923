"""URLs that come from registries: untrusted text, and possibly secret."""

from __future__ import annotations

import string
from urllib.parse import quote, urlsplit

from contentui.content.errors import InvalidArgument
from contentui.text import visible


def redacted(url: str) -> str:
    """A URL without its password and its query, in which object stores put signatures."""
    scheme, mark, rest = url.partition("?")[0].partition("#")[0].partition("://")
    if not mark:
        return scheme
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def host_of(url: str) -> str:
    """Host and port of a URL; empty when it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, address, and the target of a request, quoted.

    Raises:
        InvalidArgument: it is not a valid http or https URL.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
        address = parts.netloc.rpartition("@")[2]
        address.encode("ascii")
    except ValueError:
        raise InvalidArgument(f"{visible(redacted(url), 200)} is not a valid http(s) URL") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, address, quote(target, safe=string.punctuation)
