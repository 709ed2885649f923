"""What is typed after ``/``: plain text, ``re:`` and ``!``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


def _everything(_haystack: str) -> bool:
    return True


class Query(NamedTuple):
    """A filter that was typed. One that can't be used yet matches everything and says so."""

    text: str = ""
    problem: str = ""
    """Why it filters nothing, for the filter line; empty when it works."""
    test: Callable[[str], bool] = _everything
    """Whether a row with this casefolded text is shown; never raises."""

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return self.test is not _everything

    def matches(self, haystack: str) -> bool:
        """Whether a row with this text, in any case, is shown. Never raises."""
        return self.test(haystack.casefold())


ALL = Query()


def _substring(needle: str) -> Callable[[str], bool]:
    folded = needle.casefold()
    return lambda haystack: folded in haystack


def _pattern(source: str) -> Callable[[str], bool]:
    """Raises re2.error or UnicodeEncodeError."""
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False  # it would write on the screen
    options.max_mem = 1 << 20
    found = re2.compile(source, options).search

    def test(haystack: str) -> bool:
        return found(haystack.encode("utf-8", "replace").decode()) is not None

    return test


def _negated(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda haystack: not test(haystack)


def _why(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    if isinstance(reason, bytes):
        reason = reason.decode("utf-8", "replace")
    return f"not a regular expression yet: {reason}"


def parse(text: str) -> Query:
    """A filter from what was typed so far. Never raises.

    ``redis`` finds text without regard to case, ``re:^layer-`` a regular expression (RE2),
    and ``!`` before either turns it round.
    """
    term = text.strip()
    negated = term.startswith("!")
    if negated:
        term = term[1:].lstrip()
    # A term on a field (``stalled>10m``) will be recognised here.
    is_pattern = term.startswith("re:")
    needle = term[3:] if is_pattern else term
    if not needle:
        return Query(text)
    try:
        test = _pattern(needle) if is_pattern else _substring(needle)
    except Exception as error:  # RE2's own error type is known only once it is loaded
        return Query(text, _why(error))
    return Query(text, "", _negated(test) if negated else test)
