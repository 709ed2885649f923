"""Why the operating system denies access to a path, in one line."""

from __future__ import annotations

import os
import stat


def access_problem(path: str, mode: int = os.R_OK | os.X_OK) -> str:
    """Why access to ``path`` is denied, with mode and owner of what denies it; empty if it is not.

    ``mode``: the access that is needed, as for `os.access`. A missing path is no problem.
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
        if not os.access(step, wanted, effective_ids=True):
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
