"""Credential helpers: programs that keep the credentials of registries.

Source: "Credential helper protocol" in Docker's CLI reference.
"""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import subprocess
import time
from typing import NamedTuple

from contentui.content.errors import FailedPrecondition
from contentui.remotes.settings import Credentials
from contentui.text import visible

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WAIT_S = 30.0
_MAX_OUTPUT = 1 << 20
_TOKEN_USER = "<token>"  # noqa: S105 - replaces a user's name
_NOT_FOUND = b"credentials not found"
"""The protocol has no exit code for missing credentials, only this message."""


class _Done(NamedTuple):
    code: int
    out: bytes
    errors: bytes

    @property
    def has_none(self) -> bool:
        """Whether it failed because there are no such credentials."""
        return self.code != 0 and _NOT_FOUND in self.out + self.errors


def program_of(name: str) -> str:
    """The program of a helper, by its name in the file.

    Raises:
        FailedPrecondition: the name could be that of another program.
    """
    if not _NAME.fullmatch(name):
        raise FailedPrecondition(
            f"{visible(name, 80)} is not the name of a credential helper",
            advice="correct credHelpers and credsStore in docker's config.json",
        )
    return f"docker-credential-{name}"


def get_credentials(name: str, key: str) -> Credentials | None:
    """The credentials that a helper has for a key; None: it has none.

    Raises:
        FailedPrecondition: it is not installed, fails, or its response is invalid.
    """
    program = program_of(name)
    done = _run(program, "get", key.encode())
    if done.has_none:
        return None
    _check(program, done)
    try:
        reply = json.loads(done.out)
        user, secret = reply["Username"], reply["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise FailedPrecondition(
            f"the credential helper {program} returned an invalid response",
            advice="run it by hand to see what it prints",
        )
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)


def store_credentials(name: str, key: str, credentials: Credentials) -> None:
    """Give a helper a user and a password. Raises as `get_credentials`."""
    program = program_of(name)
    sent = {"ServerURL": key, "Username": credentials.username, "Secret": credentials.secret}
    done = _run(program, "store", json.dumps(sent).encode())
    printed = done.out + done.errors
    if done.code and any(form in printed for form in _forms(credentials)):
        done = _Done(done.code, b"", b"")
    _check(program, done)


def _forms(credentials: Credentials) -> list[bytes]:
    """How a helper that fails might print a password that it was given."""
    secret = credentials.secret.encode()
    pair = f"{credentials.username}:".encode() + secret
    escaped = json.dumps(credentials.secret)[1:-1].encode()
    return [secret, escaped, base64.b64encode(secret), base64.b64encode(pair)]


def erase_credentials(name: str, key: str) -> None:
    """Make a helper forget what it has for a key, if anything. Raises as `get_credentials`."""
    program = program_of(name)
    done = _run(program, "erase", key.encode())
    if not done.has_none:
        _check(program, done)


def _check(program: str, done: _Done) -> None:
    if done.code:
        details = visible((done.out or done.errors).decode(errors="replace").strip(), 200)
        raise FailedPrecondition(
            f"the credential helper {program} failed: {details or f'exit code {done.code}'}",
            advice="unlock or repair it, or use --user",
        )


def _run(program: str, verb: str, sent: bytes) -> _Done:
    """Run it, with a limit on its time and on what it prints.

    Raises:
        FailedPrecondition: it is not installed, or ends not in time.
    """
    pipe = subprocess.PIPE
    try:
        with open(os.memfd_create(program), "w+b") as request:  # unlike a pipe it never fills up
            request.write(sent)
            request.seek(0)
            process = subprocess.Popen([program, verb], stdin=request, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        raise FailedPrecondition(
            f"the credential helper {program} is not installed",
            advice="install it, remove it from docker's config.json, or use --user",
        ) from None
    except OSError as error:
        raise FailedPrecondition(
            f"the credential helper {program} can't be run: {error.strerror}",
            advice="install it again, or use --user",
        ) from None
    with process:
        try:
            return _read_all(process)
        except (TimeoutError, subprocess.TimeoutExpired):
            problem = f"did not respond within {_WAIT_S:g}s"
        except OverflowError:
            problem = f"printed more than {_MAX_OUTPUT >> 20} MiB"
        finally:
            process.kill()  # without effect on one that has ended
    raise FailedPrecondition(
        f"the credential helper {program} {problem}", advice="repair it, or use --user"
    )


def _read_all(process: subprocess.Popen[bytes]) -> _Done:
    """Read to the end. Raises TimeoutError, OverflowError."""
    assert process.stdout is not None
    assert process.stderr is not None
    until = time.monotonic() + _WAIT_S
    found = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in found:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(until - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                piece = stream.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader
                found[stream] += piece
                if len(found[stream]) > _MAX_OUTPUT:
                    raise OverflowError
                if not piece:
                    selector.unregister(stream)
    code = process.wait(max(until - time.monotonic(), 0.1))
    return _Done(code, bytes(found[process.stdout]), bytes(found[process.stderr]))
