from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from answering import Answering, Asked, Reply

from contentui.content.digest import Digest
from contentui.content.errors import ContentError, FailedPrecondition
from contentui.content.model import Descriptor
from contentui.oci.references import parse_reference
from contentui.remotes.errors import RetryableError
from contentui.remotes.hosts import hosts_of
from contentui.remotes.registry import Registry
from contentui.remotes.settings import HostCapability, Settings, Timeouts

if TYPE_CHECKING:
    from pathlib import Path

    from contentui.remotes.settings import Host


def hosts(root: Path, name: str, folder: str = "", toml: str = "") -> list[Host]:
    if folder:
        (root / folder).mkdir()
        (root / folder / "hosts.toml").write_text(toml)
    return hosts_of(name, Settings(hosts_dirs=(str(root),)))


@pytest.mark.parametrize(
    ("name", "scheme", "address"),
    [
        ("docker.io", "https", "registry-1.docker.io"),
        ("quay.io", "https", "quay.io"),
        ("localhost", "https", "localhost"),
        ("localhost:5000", "http", "localhost:5000"),
        ("localhost:443", "https", "localhost:443"),
        ("127.0.0.9:80", "http", "127.0.0.9:80"),
        ("[::1]:5000", "http", "[::1]:5000"),
        ("10.0.0.1:5000", "https", "10.0.0.1:5000"),
    ],
)
def test_without_configuration(name: str, scheme: str, address: str) -> None:
    (host,) = hosts_of(name, Settings())
    assert (host.scheme, host.address, host.path, host.mirror_of) == (scheme, address, "/v2", "")
    (plain,) = hosts_of(name, Settings(plain_http=True))
    assert plain.scheme == "http"


@pytest.mark.parametrize("folder", ["r.io_5000_", "r.io:5000", "_default"])
def test_mirrors_come_first_wherever_they_stand(tmp_path: Path, folder: str) -> None:
    found = hosts(
        tmp_path,
        "r.io:5000",
        folder,
        """
        server = "https://r.io:5000"
        [host."http://m1:80/prefix"]
        capabilities = ["pull"]
        skip_verify = true
        ca = "m1.pem"
        client = [["c.pem", "k.pem"], "both.pem"]
        [host."http://m1:80/prefix".header]
        X-A = ["1", "2"]
        [host."m2/v2/x"]
        override_path = true
        ca = ["/abs/a.pem", "b.pem"]
        """,
    )
    m1, m2, own = found
    place = str(tmp_path / folder)
    assert (m1.scheme, m1.address, m1.path, m1.mirror_of) == (
        "http",
        "m1:80",
        "/prefix/v2",
        "r.io:5000",
    )
    assert m1.capabilities == HostCapability.PULL
    assert m1.tls.skip_verify
    assert m1.tls.ca == (f"{place}/m1.pem",)
    assert m1.tls.client[0] == (f"{place}/c.pem", f"{place}/k.pem")
    assert m1.tls.client[1] == (f"{place}/both.pem",) * 2
    assert m1.headers == {"X-A": "1, 2"}
    assert (m2.scheme, m2.path, m2.tls.ca) == ("https", "/v2/x", ("/abs/a.pem", f"{place}/b.pem"))
    assert (own.address, own.mirror_of) == ("r.io:5000", "")


def test_without_a_server_the_registry_itself_is_last(tmp_path: Path) -> None:
    found = hosts(tmp_path, "docker.io", "docker.io", '[host."https://m"]\n')
    assert [each.address for each in found] == ["m", "registry-1.docker.io"]


@pytest.mark.parametrize(
    "toml",
    [
        "[[[",
        "host = 5",
        '[host."ftp://x"]',
        '[host."https://x:99999"]',
        '[host."https://u:p@x"]',
        '[host."https://x"]\ncapabilities = ["fly"]',
        '[host."https://x"]\ncapabilities = 5',
        '[host."https://x"]\nclient = [[]]',
        '[host."https://x"]\nheader = 5',
        "server = 5",
        '[host."https://x"]\ndial_timeout = "soon"',
        '[host."https://x"]\ndial_timeout = 0',
        '[host."https://x"]\nhead_timeout = "-3s"',
        "a = " + "[" * 5000,
    ],
)
def test_configuration_that_makes_no_sense(tmp_path: Path, toml: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"invalid .*hosts\.toml"):
        hosts(tmp_path, "r.io", "r.io", toml)


def test_time_limits_of_a_host(tmp_path: Path) -> None:
    limits = (
        'dial_timeout = "1s500ms"\nhead_timeout = "2m"\nanswer_timeout = 5\nstall_timeout = "9s"'
    )
    first, last = hosts(tmp_path, "r.io", "r.io", f'[host."https://x"]\n{limits}\n')
    assert first.timeouts == Timeouts(1.5, 120.0, 5.0, 9.0)
    assert last.timeouts == Timeouts()


def test_a_mirrors_time_limit_holds(tmp_path: Path) -> None:
    def late(_: Asked) -> Reply:
        time.sleep(1)
        return give(_)

    with Answering(late) as mirror, Answering(give) as own:
        (tmp_path / "_default").mkdir()
        toml = f'server = "{own.url}"\n[host."{mirror.url}"]\nhead_timeout = "100ms"\n'
        (tmp_path / "_default" / "hosts.toml").write_text(toml)
        reference = parse_reference(f"{own.host}/a/b:v1")
        began = time.monotonic()
        with Registry(reference, Settings(hosts_dirs=(str(tmp_path),))) as registry:
            assert registry.open(BLOB).host == own.host
        assert time.monotonic() - began < 0.9


def test_a_mirrors_failure_that_may_pass_is_named(tmp_path: Path) -> None:
    """The registry can't be reached, its mirror is overloaded once."""
    answers = iter([503])
    with Answering(lambda _: Reply(next(answers, 200), body=DATA)) as mirror:
        (tmp_path / "_default").mkdir()
        toml = f'server = "http://none.invalid"\n[host."{mirror.url}"]\n'
        (tmp_path / "_default" / "hosts.toml").write_text(toml)
        reference = parse_reference("none.invalid/a/b:v1")
        with Registry(reference, Settings(hosts_dirs=(str(tmp_path),))) as registry:
            with pytest.raises(RetryableError, match=f"{mirror.host} answered 503"):
                registry.open(BLOB)
            registry.open(BLOB).close()


def test_certificates_beside_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "r.io").mkdir()
    for name in ("a.crt", "b.cert", "b.key", "other"):
        (tmp_path / "r.io" / name).touch()
    (host,) = hosts(tmp_path, "r.io")
    assert host.tls.ca == (str(tmp_path / "r.io/a.crt"),)
    assert host.tls.client == ((str(tmp_path / "r.io/b.cert"), str(tmp_path / "r.io/b.key")),)


DATA = b"blob" * 100
BLOB = Descriptor("x", Digest.of(DATA), len(DATA))


def remote(root: Path, own: Answering, *mirrors: Answering) -> Registry:
    toml = f'server = "{own.url}"\n' + "".join(f'[host."{each.url}"]\n' for each in mirrors)
    (root / "_default").mkdir()
    (root / "_default" / "hosts.toml").write_text(toml)
    reference = parse_reference(f"{own.host}/a/b:v1")
    return Registry(reference, Settings(hosts_dirs=(str(root),)))


def give(_: Asked) -> Reply:
    return Reply(body=DATA)


def test_what_a_mirror_lacks_comes_from_the_registry(tmp_path: Path) -> None:
    with Answering(lambda _: Reply(404)) as mirror, Answering(give) as own:
        with remote(tmp_path, own, mirror) as registry, registry.open(BLOB) as body:
            assert body.host == own.host
        assert mirror.asked[0].path.endswith(f"?ns={own.host.replace(':', '%3A')}")
        assert "ns=" not in own.asked[0].path


def test_a_mirror_that_broke_off_comes_last(tmp_path: Path) -> None:
    with (
        Answering(give) as mirror,
        Answering(give) as own,
        remote(tmp_path, own, mirror) as registry,
    ):
        with registry.open(BLOB) as body:
            assert body.host == mirror.host
            registry.demote(body)
        with registry.open(BLOB) as body:
            assert body.host == own.host


@pytest.mark.parametrize(
    ("mirror", "own", "kind", "words"),
    [
        (404, 503, RetryableError, "503"),
        (403, 503, RetryableError, "503"),
        (503, 404, RetryableError, "503"),
        (403, 404, ContentError, "denies access"),
    ],
)
def test_the_most_specific_failure_is_raised(
    tmp_path: Path, mirror: int, own: int, kind: type[ContentError], words: str
) -> None:
    with (
        Answering(lambda _: Reply(mirror)) as first,
        Answering(lambda _: Reply(own)) as second,
        remote(tmp_path, second, first) as registry,
        pytest.raises(kind, match=words),
    ):
        registry.open(BLOB)
