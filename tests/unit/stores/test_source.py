"""What a ``--store`` argument means, and how a new kind of store is added."""

from __future__ import annotations

import socket
import sys
import textwrap

import pytest

from contentui.cli.context import Context
from contentui.cli.main import main
from contentui.cli.output import Output
from contentui.content.errors import InvalidArgument
from contentui.stores import open as opening
from contentui.stores.open import open_store
from contentui.stores.source import DIRECTORY, UNIX, of_socket, of_store, parse

SOCKET = "unix:///run/containerd/containerd.sock"


@pytest.mark.parametrize(
    ("source", "display", "scope"),
    [
        (SOCKET, "containerd", "all namespaces"),
        (SOCKET + "?namespace=k8s.io", "containerd", "k8s.io"),
        (SOCKET + "?namespace=k8s.io,default", "containerd", "k8s.io, default"),
        (SOCKET + "?namespace=k8s%2eio", "containerd", "k8s.io"),
        ("unix:///run/k3s/containerd/containerd.sock", "k3s or rke2", "all namespaces"),
        ("unix:///tmp/\x1b[2J", "/tmp/\\x1b[2J", "all namespaces"),
        ("/var/lib/store", "/var/lib/store", ""),
        ("unix://", "", "all namespaces"),
        ("s3://bucket/a", "s3://bucket/a", ""),
    ],
)
def test_a_source_for_display(source, display, scope):
    parsed = of_store(source)
    assert (parsed.display, parsed.scope) == (display, scope)


def test_a_command_names_the_namespace():
    assert of_store(SOCKET).narrowed("ci").text == SOCKET + "?namespace=ci"
    assert of_store(SOCKET + "?namespace=a,b").narrowed("b").text == SOCKET + "?namespace=b"
    assert of_store("/var/lib/store").narrowed("b").text == "/var/lib/store"


def test_the_path_of_a_socket_means_that_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        source = parse("s")
    assert (source.scheme, source.address) == (UNIX, f"unix://{tmp_path}/s")
    assert source.key == of_socket(f"{tmp_path}/s").key
    assert parse(".").scheme == DIRECTORY
    assert parse("unix:///x?namespace=a").address == "unix:///x?namespace=a"


def test_one_store_has_one_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("a").key == parse(f"{tmp_path}/a").key == f"{tmp_path}/a"
    assert parse(SOCKET).key == parse(SOCKET + "?namespace=a").key == SOCKET
    assert parse("s3://b/c").key == "s3://b/c"


def test_an_address_is_parsed_to_the_same_source():
    path = "/a? b#c%d\udcff"
    source = of_socket(path)
    assert source.path == path
    assert of_store(source.address) == source


@pytest.mark.parametrize(
    ("url", "path", "namespaces"),
    [
        ("unix:///a.sock", "/a.sock", ()),
        ("unix:///a.sock?namespace=k8s.io", "/a.sock", ("k8s.io",)),
        ("unix:///a.sock?namespace=a,b", "/a.sock", ("a", "b")),
        ("unix:///a.sock?namespace=a&namespace=b", "/a.sock", ("a", "b")),
        ("unix:///a%3F%25%20b?namespace=a", "/a?% b", ("a",)),
        ("unix:///a+b", "/a+b", ()),
    ],
)
def test_a_sockets_url(url, path, namespaces):
    source = parse(url)
    assert source.problem == ""
    assert (source.scheme, source.path, source.namespaces) == (UNIX, path, namespaces)


@pytest.mark.parametrize(
    "url",
    [
        "unix://a.sock",
        "unix://",
        "tcp://host:1",
        "s3://x",
        "unix:///a?lease=x",
        "unix:///a?a",
        "unix:///a?namespace",
        "unix:///a?namespace=",  # an empty variable in a script doesn't mean all of them
        "unix:///a?namespace=a,",
        "unix:///a?namespace=&namespace=a",
    ],
)
def test_what_is_no_sockets_url_is_refused_with_advice(url):
    with pytest.raises(InvalidArgument) as caught:
        open_store(url)
    assert caught.value.advice


def test_an_empty_name_is_refused():
    with pytest.raises(InvalidArgument, match="empty"):
        open_store("")


def test_the_source_is_an_argument_the_environment_or_the_default(tmp_path, monkeypatch):
    def context(named=None):
        return Context(named, False, (), Output(), [])

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONTENTUI_STORE", raising=False)
    assert context().found is None
    assert context().source.text == ".content"
    (tmp_path / ".content").mkdir()
    assert context().found.text == ".content"
    monkeypatch.setenv("CONTENTUI_STORE", "elsewhere")
    assert context().found.text == "elsewhere"
    assert context("named").found.text == "named"


def test_a_new_kind_of_store_is_one_folder_and_one_line(tmp_path, monkeypatch, capfd):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "opener.py").write_text(
        textwrap.dedent(
            """
            from contentui.stores.memory import MemoryStore

            def open_source(source, *, read_only, create):
                store = MemoryStore(source.text)
                store.put(source.path.encode())
                return store
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(opening.OPENERS, "jar", "pickled.opener")
    assert "pickled.opener" not in sys.modules
    assert main(["--store", "jar://gherkin", "list", "--json"]) == 0
    assert '"size_bytes":7' in capfd.readouterr().out.replace(" ", "")
    assert main(["--store", "tin://gherkin", "list"]) == 2
    assert "tin:// is not a kind of store" in capfd.readouterr().err


def test_the_scheme_of_directories_cannot_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match="dir:// is not a kind of store"):
        open_store("dir://made", create=True)
    assert not parse("dir://made").is_directory
    assert list(tmp_path.iterdir()) == []
