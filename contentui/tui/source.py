"""A source in few words: whose daemon a socket belongs to, and which namespaces were chosen."""

from __future__ import annotations

from typing import NamedTuple

from contentui.text import visible

SOCKETS = (
    ("containerd", "run/containerd/containerd.sock"),
    ("k3s or rke2", "run/k3s/containerd/containerd.sock"),
    ("docker", "run/docker/containerd/containerd.sock"),
    ("microk8s", "var/snap/microk8s/common/run/containerd.sock"),
)
"""Where containerd's API listens, relative to ``/``, and whose it is."""

SCHEME = "unix://"
_OWNERS = {"/" + path: name for name, path in SOCKETS} | {
    "/var/run/containerd/containerd.sock": "containerd",
    "/var/run/docker/containerd/containerd.sock": "docker",
}


class Source(NamedTuple):
    """What a source's name tells, safe for a terminal."""

    words: str
    """Whose daemon it is where its socket is a usual one; else the path, or the whole name."""
    namespaces: tuple[str, ...] = ()
    """Those that were chosen; empty: all, or there are none."""
    is_daemon: bool = False
    """It is a socket."""

    @property
    def scope(self) -> str:
        """``k8s.io, default``, ``all namespaces``; empty where a store has none."""
        if not self.is_daemon:
            return ""
        return ", ".join(self.namespaces) or "all namespaces"


def is_socket(source: str) -> bool:
    """Whether a source is a daemon's socket."""
    return source.startswith(SCHEME)


def parse(source: str) -> Source:
    """What a source's name tells. Never raises, whatever it is."""
    if not is_socket(source):
        return Source(visible(source, 400))
    from urllib.parse import unquote

    path, _, query = source[len(SCHEME) :].partition("?")
    names: list[str] = []
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key == "namespace":
            names += [visible(unquote(name), 80) for name in value.split(",") if name]
    return Source(_OWNERS.get(path) or visible(path, 400), tuple(dict.fromkeys(names)), True)


def narrowed(source: str, namespace: str) -> str:
    """The same daemon with one namespace chosen; anything else as it is."""
    if not is_socket(source) or not namespace:
        return source
    return f"{source.partition('?')[0]}?namespace={namespace}"
