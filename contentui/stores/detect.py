"""Which content stores this machine has, and what may be done with each from here."""

from __future__ import annotations

import os
from typing import NamedTuple

from contentui.stores import source as sources
from contentui.stores.access import access_problem
from contentui.stores.source import SOCKETS, Source

_CONTENT = "io.containerd.content.v1.content"

ROOTS = (
    ("containerd", f"var/lib/containerd/{_CONTENT}", "containerd"),
    ("k3s", f"var/lib/rancher/k3s/agent/containerd/{_CONTENT}", "k3s or rke2"),
    ("rke2", f"var/lib/rancher/rke2/agent/containerd/{_CONTENT}", "k3s or rke2"),
    ("docker", f"var/lib/docker/containerd/daemon/{_CONTENT}", "docker"),
    ("microk8s", f"var/snap/microk8s/common/var/lib/containerd/{_CONTENT}", "microk8s"),
)
"""Where a containerd keeps its content, relative to ``/``, and whose socket changes it."""


_OUR_SERVICE = "contentui serve"


class Candidate(NamedTuple):
    """A store on this machine, or a place where one would be made."""

    name: str
    """Whose it is: ``containerd``, ``k3s``, ``this directory``."""
    source: Source
    allowed: str
    """What may be done there, and why not more, as a sentence."""
    can_open: bool
    exists: bool = True


def detect(root: str = "/", here: str = ".content") -> list[Candidate]:
    """Everything found below ``root``, and the directory ``here`` whether or not it exists.

    Sockets precede directories: more may be done through them. Only names and modes are read, and
    the file in ``here`` that names its service; no connection is made.
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
    """The index of the one to offer first: a store that exists, rather than an empty one."""
    able = [place for place, each in enumerate(candidates) if each.can_open]
    return next((place for place in able if candidates[place].exists), able[0] if able else None)


def _here(path: str) -> list[Candidate]:
    name, source = "this directory", sources.of_store(path)
    if not os.path.lexists(path):
        allowed = "not there yet: opening makes an empty store"
        return [Candidate(name, source, allowed, True, exists=False)]
    if problem := _denied(path):
        return [Candidate(name, source, problem, False)]
    if service := _service(path):
        allowed = "read-only: a contentui service owns it; better its socket, above"
        return [service, Candidate(name, source, allowed, True)]
    return [Candidate(name, source, "everything: ingest, abort, truncate, delete", True)]


def _service(path: str) -> Candidate | None:
    """The socket of our own service that owns a directory, while it runs."""
    from contentui.stores.local.ownership import service_socket

    try:
        source = sources.of_store(service_socket(path))
    except OSError:
        return None
    return _socket(_OUR_SERVICE, source.path) if source.scheme == sources.UNIX else None


def _directory(name: str, path: str, socket: Candidate | None) -> Candidate | None:
    source = sources.of_store(path)
    if problem := _denied(path):
        return Candidate(name, source, problem, False)
    if not os.path.isdir(path):
        return None
    allowed = f"read-only: it belongs to {name}, which alone may change it"
    if socket is not None:
        allowed += "; better its socket, above"
    return Candidate(name, source, allowed, True)


def _socket(name: str, path: str) -> Candidate | None:
    source = sources.of_socket(path)
    if problem := _denied(path, os.R_OK | os.W_OK):
        return Candidate(name, source, problem, False)
    if not sources.is_socket(path):
        return None
    allowed = "everything, in all namespaces, through the daemon"
    if name == _OUR_SERVICE:
        allowed = "everything, through the service"
    return Candidate(name, source, allowed, True)


def _denied(path: str, mode: int = os.R_OK | os.X_OK) -> str:
    """Why the path can't be opened, and what to do; empty when it can."""
    problem = access_problem(path, mode)
    return f"{problem}: run it as root or in that group" if problem else ""
