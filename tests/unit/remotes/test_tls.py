"""Trust and its absence, with certificates made by openssl and real handshakes."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from answering import Answering, Asked, Reply

from contentui.content.errors import InvalidArgument
from contentui.remotes.errors import Refused, RetryableError
from contentui.remotes.http import Http
from contentui.remotes.settings import Timeouts, Tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")

HELLO = Reply(body=b"hello")


def openssl(place: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=place, check=True, capture_output=True)


def sign(place: Path, name: str, extensions: str) -> None:
    """A key, and a certificate of our authority."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        place, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
    )
    (place / "extensions").write_text(extensions)
    openssl(
        place, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.crt",
    )  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority; certificates of a server, of one for another name, and of a client."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("ca", "stranger"):
        openssl(
            place, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN=test {name}", "-keyout", f"{name}.key",
            "-out", f"{name}.crt",
        )  # fmt: skip
    sign(place, "server", "subjectAltName=IP:127.0.0.1")
    sign(place, "misnamed", "subjectAltName=DNS:registry.example")
    sign(place, "client", "extendedKeyUsage=clientAuth")
    return place


class Secure(Answering):
    """`Answering` with TLS; ``wants`` is the authority of the clients that may come."""

    def __init__(self, keys: Path, reply: Reply, name: str = "server", wants: str = "") -> None:
        super().__init__(lambda _: reply)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys / f"{name}.crt", keys / f"{name}.key")
        if wants:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(keys / wants)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://{self.host}"


@pytest.fixture
def http() -> Iterator[Http]:
    made = Http(Timeouts(5, 5, 5))
    yield made
    made.close()


def trusting(keys: Path, *client: str) -> Tls:
    pair = ((str(keys / f"{client[0]}.crt"), str(keys / f"{client[-1]}.key")),) if client else ()
    return Tls(ca=(str(keys / "ca.crt"),), client=pair)


def ask(http: Http, url: str, tls: Tls | None) -> bytes:
    with http.follow("GET", url, tls=tls) as answer:
        return answer.read(10)


def test_an_authority_of_our_own(keys: Path, http: Http) -> None:
    with Secure(keys, HELLO) as server:
        for _ in range(2):
            assert ask(http, server.url, trusting(keys)) == b"hello"
        assert len({each.connection for each in server.asked}) == 1


@pytest.mark.parametrize(
    ("name", "trusted", "words", "advice"),
    [
        ("server", None, "is not trusted: unable to get local issuer certificate", "--tls-ca"),
        ("server", "stranger.crt", "is not trusted", "--tls-ca"),
        ("misnamed", "ca.crt", "is not trusted: IP address mismatch", "use the host's name"),
    ],
)
def test_who_is_not_trusted_hears_nothing(
    keys: Path, http: Http, name: str, trusted: str | None, words: str, advice: str
) -> None:
    tls = Tls(ca=(str(keys / trusted),)) if trusted else None
    with Secure(keys, HELLO, name) as server:
        with pytest.raises(Refused, match=words) as caught:
            ask(http, server.url, tls)
        assert server.host in caught.value.message
        assert advice in caught.value.advice
        assert server.asked == []


@pytest.mark.parametrize("name", ["server", "misnamed"])
def test_no_verification_where_that_is_wanted(keys: Path, http: Http, name: str) -> None:
    with Secure(keys, HELLO, name) as server:
        assert ask(http, server.url, Tls(skip_verify=True)) == b"hello"


def test_trust_is_not_shared_by_connections(keys: Path, http: Http) -> None:
    """What one request may skip, the next one, to the same host, may not."""
    with Secure(keys, HELLO) as server:
        ask(http, server.url, Tls(skip_verify=True))
        with pytest.raises(Refused, match="is not trusted"):
            ask(http, server.url, None)


def test_a_certificate_of_ours(keys: Path, http: Http) -> None:
    with Secure(keys, HELLO, wants="ca.crt") as server:
        assert ask(http, server.url, trusting(keys, "client")) == b"hello"


def test_a_certificate_of_ours_that_is_missing(keys: Path, http: Http) -> None:
    with Secure(keys, HELLO, wants="ca.crt") as server:
        for _ in range(50):  # the host may hang up before its reason has been read
            with pytest.raises((Refused, RetryableError)) as caught:
                ask(http, server.url, trusting(keys))
            if caught.type is Refused:
                break
        assert "requires a client certificate" in caught.value.message
        assert "--tls-cert" in caught.value.advice
        assert server.asked == []


def test_a_certificate_of_ours_that_is_strange_to_the_host(keys: Path, http: Http) -> None:
    with (
        Secure(keys, HELLO, wants="ca.crt") as server,
        pytest.raises((Refused, RetryableError), match=r"127\.0\.0\.1"),
    ):
        ask(http, server.url, trusting(keys, "stranger"))


@pytest.mark.parametrize(
    ("certificate", "key"), [("client", "server"), ("client", "none"), ("none", "client")]
)
def test_files_that_are_no_pair(keys: Path, http: Http, certificate: str, key: str) -> None:
    with (
        Secure(keys, HELLO) as server,
        pytest.raises(InvalidArgument, match=r"certificates can't be read .*\.crt"),
    ):
        ask(http, server.url, trusting(keys, certificate, key))


def test_our_certificate_stays_with_its_host(keys: Path, http: Http) -> None:
    """A host that we are sent to is not shown who we are."""
    with Secure(keys, HELLO, wants="ca.crt") as other:
        to_other = Reply(307, headers={"Location": f"{other.url}/there"})
        with Secure(keys, to_other, wants="ca.crt") as first:
            for _ in range(50):  # the host may hang up before its reason has been read
                with pytest.raises((Refused, RetryableError)) as caught:
                    ask(http, first.url, trusting(keys, "client"))
                if caught.type is Refused:
                    break
            assert "requires a client certificate" in caught.value.message
        assert other.asked == []


def test_no_redirect_out_of_tls(keys: Path, http: Http) -> None:
    def never(_: Asked) -> Reply:
        raise AssertionError

    with Answering(never) as plain:
        away = Reply(307, headers={"Location": f"{plain.url}/there?sig=secret"})
        with Secure(keys, away) as server, pytest.raises(Refused) as caught:
            ask(http, server.url, trusting(keys))
        assert "redirects from https to http://" in caught.value.message
        assert "secret" not in caught.value.message
        assert "TLS" in caught.value.advice
        assert plain.asked == []


def test_plain_where_tls_is_meant(http: Http) -> None:
    with Answering(lambda _: HELLO) as plain:
        with pytest.raises(Refused, match="doesn't use TLS") as caught:
            ask(http, plain.url.replace("http:", "https:"), None)
        assert "--plain-http" in caught.value.advice


def test_tls_where_plain_is_meant(keys: Path, http: Http) -> None:
    with Secure(keys, HELLO) as server, pytest.raises((Refused, RetryableError), match="127"):
        ask(http, server.url.replace("https:", "http:"), None)
