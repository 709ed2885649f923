"""Which content stores this machine has, and what may be done with each from here."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

_CONTENT = "io.containerd.content.v1.content"

SOCKETS = (
    ("containerd", "run/containerd/containerd.sock"),
    ("k3s or rke2", "run/k3s/containerd/containerd.sock"),
    ("docker", "run/docker/containerd/containerd.sock"),
    ("microk8s", "var/snap/microk8s/common/run/containerd.sock"),
)
"""Where containerd's API listens, relative to ``/``."""

ROOTS = (
    ("containerd", f"var/lib/containerd/{_CONTENT}"),
    ("k3s", f"var/lib/rancher/k3s/agent/containerd/{_CONTENT}"),
    ("rke2", f"var/lib/rancher/rke2/agent/containerd/{_CONTENT}"),
    ("docker", f"var/lib/docker/containerd/daemon/{_CONTENT}"),
    ("microk8s", f"var/snap/microk8s/common/var/lib/containerd/{_CONTENT}"),
)
"""Where a containerd keeps its content, relative to ``/``."""


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


def detect(root: str = "/", here: str = ".content") -> list[Candidate]:
    """Everything found below ``root``, and the directory ``here`` whether or not it is there.

    Only looks at names and modes: opens nothing, connects to nothing.
    """
    found = [_here(here)]
    found += [c for name, path in ROOTS if (c := _directory(name, os.path.join(root, path)))]
    found += [c for name, path in SOCKETS if (c := _socket(name, os.path.join(root, path)))]
    return found


def _here(path: str) -> Candidate:
    name = "this directory"
    if not os.path.lexists(path):
        return Candidate(name, path, "not there yet: opening makes an empty store", True, False)
    if problem := access_problem(path):
        return Candidate(name, path, problem, False)
    return Candidate(name, path, "everything: ingest, abort, truncate, delete", True)


def _directory(name: str, path: str) -> Candidate | None:
    if problem := access_problem(path):
        return Candidate(name, path, problem, False)
    if not os.path.isdir(path):
        return None
    allowed = f"read-only: the directory belongs to {name}, which alone may change it"
    return Candidate(name, path, allowed, True)


def _socket(name: str, path: str) -> Candidate | None:
    problem = access_problem(path, os.R_OK | os.W_OK)
    if not problem and not _is_socket(path):
        return None
    allowed = "not supported yet: this version opens directories"
    return Candidate(name, path, f"{problem}; {allowed}" if problem else allowed, False)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def access_problem(path: str, mode: int = os.R_OK | os.X_OK) -> str:
    """Why the operating system keeps us out of ``path``, with who owns what; empty when it doesn't.

    A path that is not there is no problem.
    """
    at = os.path.abspath(path)
    steps = [at]
    while at != os.path.dirname(at):
        at = os.path.dirname(at)
        steps.append(at)
    for step in reversed(steps):
        wanted = mode if step == steps[0] else os.X_OK
        try:
            found = os.stat(step)
        except PermissionError:
            continue  # its parent has been named
        except OSError:
            return ""
        if not os.access(step, wanted):
            return _refusal(step, found)
    return ""


def _refusal(path: str, found: os.stat_result) -> str:
    mode = stat.filemode(found.st_mode)
    owner = f"{_user(found.st_uid)}:{_group(found.st_gid)}"
    return f"permission denied at {path} ({mode} {owner}; you are {_user(os.geteuid())})"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
