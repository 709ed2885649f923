"""Digests: the names of blobs."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from contentui.content.errors import InvalidArgument

if TYPE_CHECKING:
    from hashlib import _Hash

HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The accepted algorithms, each with its number of lowercase hex digits.

sha256 and sha512 are registered in the OCI image specification (``descriptor.md``).
"""

_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


class Digest(str):
    """A validated digest, ``algorithm:hex``; equal to, and hashed like, its text.

    Build one with `parse`; the constructor trusts its argument.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return ``text`` as a digest.

        Raises:
            InvalidArgument: no sha256, sha384 or sha512 digest in lowercase hex.
        """
        if _FORM.fullmatch(text) is None:
            raise InvalidArgument(
                f"{text[:160]!r} is not a digest",
                advice="write it as sha256: and 64 lowercase hex digits (or sha384:, sha512:)",
            )
        return cls(text)

    @classmethod
    def found_in(cls, text: str) -> Digest | None:
        """The last digest that occurs in ``text``, as in ``layer-sha256:…``; None without one."""
        found = _FORM.findall(text)
        return cls(found[-1]) if found else None

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        return cls(f"{algorithm}:{new_hash(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256``, ``sha384`` or ``sha512``."""
        return str(self[:6])

    @property
    def encoded(self) -> str:
        """The hex digits: a blob's file name."""
        return str(self[7:])

    def short(self, digits: int = 12) -> str:
        """The algorithm and the first ``digits`` hex digits, for narrow columns."""
        return str(self[: 7 + digits])


def new_hash(algorithm: str, data: bytes | memoryview = b"") -> _Hash:
    """A running hash for one of the algorithms in `HEX_LENGTHS`."""
    return hashlib.new(algorithm, data, usedforsecurity=True)


EMPTY = Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""The digest of no bytes: what a connection that closed too early leaves behind."""
