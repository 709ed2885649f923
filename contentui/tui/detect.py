"""Which content stores this machine has, and what may be done with each from here."""

from __future__ import annotations

import os
from typing import NamedTuple

from contentui.stores.access import access_problem, is_socket
from contentui.tui.source import SCHEME, SOCKETS

_CONTENT = "io.containerd.content.v1.content"

ROOTS = (
    ("containerd", f"var/lib/containerd/{_CONTENT}", "containerd"),
    ("k3s", f"var/lib/rancher/k3s/agent/containerd/{_CONTENT}", "k3s or rke2"),
    ("rke2", f"var/lib/rancher/rke2/agent/containerd/{_CONTENT}", "k3s or rke2"),
    ("docker", f"var/lib/docker/containerd/daemon/{_CONTENT}", "docker"),
    ("microk8s", f"var/snap/microk8s/common/var/lib/containerd/{_CONTENT}", "microk8s"),
)
"""Where a containerd keeps its content, relative to ``/``, and whose socket changes it."""


class Candidate(NamedTuple):
    """Something on this machine that is a store, or would be one."""

    name: str
    """Whose it is: ``containerd``, ``k3s``, ``this directory``."""
    path: str
    """Hostile text where it came from the environment."""
    allowed: str
    """What may be done there, and why not more, as a sentence."""
    can_open: bool
    exists: bool = True
    is_socket: bool = False

    @property
    def source(self) -> str:
        """How a person would name it as a store."""
        return SCHEME + os.path.abspath(self.path) if self.is_socket else self.path


def detect(root: str = "/", here: str = ".content") -> list[Candidate]:
    """Everything found below ``root``, and the directory ``here`` whether or not it is there.

    Sockets stand before directories: more may be done there. Only looks at names and modes:
    opens nothing but the mark in ``here`` that names its service, connects to nothing.
    """
    sockets = [c for name, path in SOCKETS if (c := _socket(name, os.path.join(root, path)))]
    by_owner = {each.name: each for each in sockets}
    directories = [
        found
        for name, path, owner in ROOTS
        if (found := _directory(name, os.path.join(root, path), by_owner.get(owner)))
    ]
    return [*_here(here), *sockets, *directories]


def first_choice(candidates: list[Candidate]) -> int | None:
    """Which one to offer first: something that is there, rather than an empty store."""
    able = [place for place, each in enumerate(candidates) if each.can_open]
    return next((place for place in able if candidates[place].exists), able[0] if able else None)


def _here(path: str) -> list[Candidate]:
    name = "this directory"
    if not os.path.lexists(path):
        return [Candidate(name, path, "not there yet: opening makes an empty store", True, False)]
    if problem := _kept_out(path):
        return [Candidate(name, path, problem, False)]
    if service := _service(path):
        allowed = "read-only: a contentui service owns it; better its socket, above"
        return [service, Candidate(name, path, allowed, True)]
    return [Candidate(name, path, "everything: ingest, abort, truncate, delete", True)]


def _service(path: str) -> Candidate | None:
    """The socket of our own service that owns a directory, while it runs."""
    from contentui.stores.local.ownership import read_only_reason

    _, found, socket = read_only_reason(path).rpartition(SCHEME)
    return _socket("contentui serve", socket) if found and socket else None


def _directory(name: str, path: str, socket: Candidate | None) -> Candidate | None:
    if problem := _kept_out(path):
        return Candidate(name, path, problem, False)
    if not os.path.isdir(path):
        return None
    allowed = f"read-only: it belongs to {name}, which alone may change it"
    if socket is not None:
        allowed += "; better its socket, above"
    return Candidate(name, path, allowed, True)


def _socket(name: str, path: str) -> Candidate | None:
    if problem := _kept_out(path, os.R_OK | os.W_OK):
        return Candidate(name, path, problem, False, is_socket=True)
    if not is_socket(path):
        return None
    what = "everything, in all namespaces, through the daemon"
    if name == "contentui serve":
        what = "everything, through the service"
    return Candidate(name, path, what, True, is_socket=True)


def _kept_out(path: str, mode: int = os.R_OK | os.X_OK) -> str:
    """Why we are kept out of a path, and what to do; empty when we aren't."""
    problem = access_problem(path, mode)
    return f"{problem}: run it as root or in that group" if problem else ""
