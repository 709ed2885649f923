"""login and logout as their users run them, against a server that wants a password."""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .test_terminal import on_terminal

ACCOUNT = base64.b64encode(b"me:hush").decode()


class Guarded(BaseHTTPRequestHandler):
    """The beginning of a registry: its check of the version."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        right = self.headers.get("Authorization") == f"Basic {ACCOUNT}"
        self.send_response(200 if right or self.server.open else 401)
        self.send_header("WWW-Authenticate", "Basic realm=x")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    server.open = False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def host(server):
    return f"127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def program(program):
    """With a home of its own."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        program.env.pop(name, None)
    program.env |= {"HOME": str(program.folder), "XDG_RUNTIME_DIR": str(program.folder / "run")}
    return program


@pytest.fixture
def file(program):
    return program.folder / ".docker/config.json"


def login(program, host, *args, password=b"hush\n", **env):
    words = ("login", "--username", "me", "--password-stdin", *args, host)
    return program(*words, stdin=password, **env)


def test_a_login_is_stored_and_a_logout_removes_it(program, host, file):
    ran = login(program, host)
    assert ran == (0, f"logged in to {host} as me: the password is in {file}, not encrypted\n", "")
    assert json.loads(file.read_text()) == {"auths": {host: {"auth": ACCOUNT}}}
    assert file.stat().st_mode & 0o777 == 0o600
    assert program("logout", host) == (0, f"logged out of {host}: removed from {file}\n", "")
    assert json.loads(file.read_text()) == {"auths": {}}
    assert program("logout", host) == (0, "", f"there are no credentials for {host}\n")


def test_json(program, host, file):
    place = {"file": str(file), "key": host, "helper": None}
    ran = login(program, host, "--json")
    assert json.loads(ran.out) == {"host": host, "username": "me", **place, "tried": True}
    ran = program("logout", "--json", host)
    assert json.loads(ran.out) == {"host": host, "removed": [place], "remaining": []}
    ran = program("logout", "--json", host)
    assert json.loads(ran.out) == {"host": host, "removed": [], "remaining": []}


def test_a_wrong_password_is_not_stored(program, host, file):
    ran = login(program, host, password=b"wrong")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith(f"contentui: wrong user or password: {host} does not accept")
    assert "wrong\n" not in ran.err
    assert not file.exists()


def test_a_registry_that_asks_for_nothing(program, host, server, file):
    server.open = True
    ran = login(program, host)
    assert ran.code == 0
    assert ran.err == f"{host} asks for no credentials: these were stored without a trial\n"
    assert file.exists()


def test_a_file_of_one_s_own(program, host, file):
    ran = login(program, host, "--authfile", "a.json")
    own = program.folder / "a.json"
    assert own.exists()
    assert ran.err == (f"these are used only with REGISTRY_AUTH_FILE={own} in the environment\n")
    login(program, host)
    ran = program("logout", "--authfile", "a.json", host)
    assert ran.out == f"logged out of {host}: removed from {own}\n"
    assert f"credentials for {host} remain in {file}: 'contentui logout --authf" in ran.err
    assert host in file.read_text()
    ran = login(program, host, REGISTRY_AUTH_FILE=str(own))
    assert str(own) in ran.out
    assert ran.err == ""


def test_repositories_have_credentials_of_their_own(program, host, file):
    login(program, host)
    config = json.loads(file.read_text())
    config["auths"][f"{host}/team"] = {"auth": ACCOUNT}
    file.write_text(json.dumps(config))
    ran = program("logout", host)
    assert f"credentials for {host}/team remain in {file}: edit it" in ran.err


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("q.io",), b"", "no user for q.io"),
        (("--username", "me", "q.io"), b"hush", "no password for me"),
        (("--password-stdin", "q.io"), b"hush", "needs --username"),
        (("--username", "me", "--password-stdin", "q.io"), b"\n", "the password is empty"),
        (("--username", "me", "--password-stdin", "q.io"), b"\xff", "is not UTF-8"),
        (("--username", "me", "--password-stdin", "q.io"), b"x" * 70000, "longer than 64 KiB"),
        (("--username", "me:hush", "--password-stdin", "q.io"), b"x", "has a colon"),
        (("--username", "me", "--password-stdin", "q.io/team"), b"x", "is more than a registry"),
        (("--username", "me", "--password-stdin", "--authfile", "", "q.io"), b"x", "is empty"),
        ((), b"", "required: HOST"),
        (("--password", "hush", "q.io"), b"", "unrecognized arguments"),
    ],
)
def test_what_makes_no_sense(program, file, words, stdin, said):
    ran = program("login", *words, stdin=stdin)
    assert ran.code == (1 if said.startswith("no ") else 2)
    assert said in ran.err
    assert not file.exists()


def test_a_registry_that_is_not_there(program, host, server, file):
    server.shutdown()
    server.server_close()
    ran = login(program, host)
    assert ran.code == 1
    assert f"connection refused by {host}" in ran.err
    assert not file.exists()


def test_the_prompts_show_no_password(program, host, file):
    with on_terminal(program, "login", host) as terminal:
        terminal.expect(f"user for {host}: ".encode())
        terminal.type(b"me\n")
        terminal.expect(f"password of me for {host}: ".encode())
        terminal.type(b"hush\n")
        terminal.expect(b"logged in to")
        assert terminal.end() == 0
    assert b"hush" not in terminal.seen
    assert json.loads(file.read_text())["auths"] == {host: {"auth": ACCOUNT}}


def test_a_helper_that_is_not_installed(program, host, file):
    file.parent.mkdir()
    file.write_text('{"credsStore": "none-such"}')
    ran = login(program, host)
    assert ran.code == 1
    assert "docker-credential-none-such is not installed" in ran.err
    assert json.loads(file.read_text()) == {"credsStore": "none-such"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_the_file_of_another_user(program, host, file):
    file.parent.mkdir()
    file.write_text("{}")
    os.chown(file, 12345, 12345)
    ran = login(program, host)
    assert ran.code == 1
    assert f"{file} belongs to the user with the id 12345, and is not changed" in ran.err
    assert file.read_text() == "{}"
