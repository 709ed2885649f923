"""The argument of ``--store``, parsed: which kind of store, where, and which namespaces.

This is the only place that reads such a text. `contentui.stores.open` opens what it names.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from contentui.content.errors import InvalidArgument
from contentui.text import visible

DIRECTORY = "dir"
"""The scheme of a directory, which is named by its path alone."""
UNIX = "unix"
"""The scheme of a unix socket: ``unix:///PATH?namespace=a,b``, or the path of an existing one."""

SOCKETS = (
    ("containerd", "run/containerd/containerd.sock"),
    ("k3s or rke2", "run/k3s/containerd/containerd.sock"),
    ("docker", "run/docker/containerd/containerd.sock"),
    ("microk8s", "var/snap/microk8s/common/run/containerd.sock"),
)
"""Who listens with containerd's API, and its default path relative to ``/``."""

_OWNERS = {"/" + path: name for name, path in SOCKETS} | {
    "/var/run/containerd/containerd.sock": "containerd",
    "/var/run/docker/containerd/containerd.sock": "docker",
}
_SAFE = "/ !\"$&'()*+,-.:;<=>@[]^_`{|}~"
"""Characters that stay readable in an address: all but ``?``, ``#``, ``%`` and controls."""


class Source(NamedTuple):
    """What a ``--store`` argument, or the name of an open store, refers to."""

    text: str
    """As it was given. Hostile text: `display` is safe for a terminal."""
    scheme: str
    """`DIRECTORY`, `UNIX`, or what precedes ``://``."""
    path: str
    """A file system path for `DIRECTORY` and `UNIX`; else everything after ``://``."""
    namespaces: tuple[str, ...] = ()
    """The chosen namespaces of a daemon; empty: all, or the store has none."""
    problem: str = ""
    """Why the text is not valid; empty when it is. Opening such a source raises it."""
    advice: str = ""
    """What to write instead; empty without a problem."""

    @property
    def is_directory(self) -> bool:
        """Whether it refers to a directory, which need not exist."""
        return self.scheme == DIRECTORY

    @property
    def address(self) -> str:
        """A text that refers to the same store from every working directory, for a socket."""
        if self.scheme != UNIX:
            return self.text
        chosen = f"?namespace={','.join(self.namespaces)}" if self.namespaces else ""
        return f"{self.key}{chosen}"

    @property
    def key(self) -> str:
        """The same for all sources of one store, whatever its namespaces and the way it is named.

        It distinguishes rows of several sources on one screen.
        """
        if self.scheme == DIRECTORY:
            return os.path.abspath(self.path)
        if self.scheme == UNIX:
            from urllib.parse import quote

            path = quote(os.path.abspath(self.path), safe=_SAFE, errors="surrogateescape")
            return f"{UNIX}://{path}"
        return self.text

    @property
    def display(self) -> str:
        """A short name, safe for a terminal: ``containerd`` for a usual socket, else the path."""
        if self.scheme == UNIX:
            return _OWNERS.get(self.path) or visible(self.path, 400)
        return visible(self.text, 400)

    @property
    def scope(self) -> str:
        """``k8s.io, default`` or ``all namespaces``; empty for a directory. Terminal-safe."""
        if self.scheme != UNIX:
            return ""
        return ", ".join(visible(name, 80) for name in self.namespaces) or "all namespaces"

    def narrowed(self, namespace: str) -> Source:
        """The same daemon with one namespace chosen; anything else unchanged."""
        if self.scheme != UNIX or not namespace:
            return self
        text = f"{self.text.partition('?')[0]}?namespace={namespace}"
        return self._replace(text=text, namespaces=(namespace,))

    def check(self) -> None:
        """Raises InvalidArgument when the text is not valid."""
        if self.problem:
            raise InvalidArgument(self.problem, advice=self.advice)


def parse(text: str) -> Source:
    """Parse a ``--store`` argument. Never raises: a `Source.problem` is raised by opening it.

    A path without a scheme is looked at once: where a socket is, it means that socket.
    """
    if "://" not in text and is_socket(text):
        return Source(text, UNIX, text)
    return of_store(text)


def of_store(name: str) -> Source:
    """The source of an open store, from `Store.name`. Never raises, and looks at no file."""
    scheme, separator, rest = name.partition("://")
    if not separator:
        problem = "" if name else "the store's name is empty"
        return Source(name, DIRECTORY, name, (), problem, "name a directory")
    if scheme == DIRECTORY:  # not a scheme that can be typed
        problem = f"{DIRECTORY}:// is not a kind of store this version can open"
        return Source(name, "", rest, (), problem, "name a directory by its path alone")
    return _socket(name, rest) if scheme == UNIX else Source(name, scheme, rest)


def of_socket(path: str) -> Source:
    """The source of all namespaces behind the socket at a path."""
    return of_store(Source(path, UNIX, path).address)


def is_socket(path: str) -> bool:
    """Whether ``path`` is a socket that is visible from here."""
    import stat

    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _socket(text: str, rest: str) -> Source:
    """Parse ``/PATH?namespace=a,b``; no namespace means all of them.

    ``?namespace=`` without a name is a problem: an unset variable in a script must not mean all.
    """
    from urllib.parse import parse_qsl, unquote

    path, _, query = rest.partition("?")
    problem = advice = ""
    names: list[str] = []
    for key, value in parse_qsl(query, keep_blank_values=True, separator="&"):
        if key == "namespace":
            names += value.split(",")
        else:
            problem = f"unknown option {key[:40]!r} after the path of a socket"
            advice = "only ?namespace=NAME is known, or ?namespace=NAME,NAME"
    if not path.startswith("/"):
        problem = f"{text[:160]!r} has no absolute path"
        advice = "write three slashes: unix:///run/containerd/containerd.sock"
    elif not problem and "" in names:
        problem = "a name is missing after ?namespace="
        advice = "name one, or leave ?namespace= out to choose all of them"
    namespaces = tuple(dict.fromkeys(filter(None, names)))
    path = unquote(path, errors="surrogateescape")
    return Source(text, UNIX, path, namespaces, problem, advice)
