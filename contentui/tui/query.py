"""What is typed after ``/``: plain text, ``re:``, ``ns:`` and ``!``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from contentui.present.columns import NAMESPACE_MARK

if TYPE_CHECKING:
    from collections.abc import Callable


def _everything(_search_text: str) -> bool:
    return True


class Query(NamedTuple):
    """A filter that was typed. One that is not valid yet matches everything and has a `problem`."""

    text: str = ""
    problem: str = ""
    """Why it filters nothing, for the filter line; empty when it works."""
    test: Callable[[str], bool] = _everything
    """Whether a row with this casefolded text is shown; never raises."""

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return self.test is not _everything

    def matches(self, search_text: str) -> bool:
        """Whether a row with this text, in any case, is shown. Never raises."""
        return self.test(search_text.casefold())


ALL = Query()


def _substring(needle: str) -> Callable[[str], bool]:
    folded = needle.casefold()
    return lambda search_text: folded in search_text


def _pattern(source: str) -> Callable[[str], bool]:
    """Raises re2.error or UnicodeEncodeError."""
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False  # it would write on the screen
    options.max_mem = 1 << 20
    found = re2.compile(source, options).search

    def test(search_text: str) -> bool:
        name = search_text.partition(NAMESPACE_MARK)[0]  # so that $ is the end of the name
        return found(name.encode("utf-8", "replace").decode()) is not None

    return test


def _namespaces(names: str) -> Callable[[str], bool] | None:
    """Rows in a namespace that begins with one of these names; None: any will do."""
    needles = tuple(NAMESPACE_MARK + name for name in names.casefold().split(",") if name)
    if not needles:
        return None
    if len(needles) == 1:
        needle = needles[0]
        return lambda search_text: needle in search_text
    return lambda search_text: any(needle in search_text for needle in needles)


def _negated(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda search_text: not test(search_text)


def _both(one: Callable[[str], bool], other: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda search_text: one(search_text) and other(search_text)


def _why(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    if isinstance(reason, bytes):
        reason = reason.decode("utf-8", "replace")
    return f"not a regular expression yet: {reason}"


def parse(text: str) -> Query:
    """A filter from what was typed so far. Never raises.

    ``redis`` finds text without regard to case, ``re:^layer-`` a regular expression (RE2),
    ``ns:k8s`` what is in a namespace of that beginning, and ``!`` before any of them turns it
    round. Behind ``ns:NAME`` and a space, another filter may follow: both must hold.
    """
    term = text.strip()
    scopes: list[Callable[[str], bool]] = []
    while (scope := _scope(term)) is not None:
        test, term = scope
        if test is not None:
            scopes.append(test)
    query = _parse_name(term)
    for test in scopes:
        query = query._replace(test=_both(test, query.test) if query else test)
    return query._replace(text=text)


def _scope(term: str) -> tuple[Callable[[str], bool] | None, str] | None:
    """The namespaces that a term begins with, and what follows; None: it begins otherwise."""
    negated = term.startswith("!")
    rest = term[1:].lstrip() if negated else term
    if not rest.startswith("ns:"):
        return None
    names, _, rest = rest[3:].partition(" ")
    test = _namespaces(names)
    return (_negated(test) if negated and test else test), rest.strip()


def _parse_name(term: str) -> Query:
    negated = term.startswith("!")
    if negated:
        term = term[1:].lstrip()
    is_pattern = term.startswith("re:")
    needle = term[3:] if is_pattern else term
    if not needle:
        return ALL
    try:
        test = _pattern(needle) if is_pattern else _substring(needle)
    except Exception as error:  # RE2's own error type is known only once it is loaded
        return Query("", _why(error))
    return Query("", "", _negated(test) if negated else test)
