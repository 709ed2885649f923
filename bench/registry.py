"""Debian's docker-registry on a free port, and images of random bytes to put into it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from bench.measure import Failed
from bench.peers import Missing, need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
"""
TLS = ", tls: {{certificate: {0}/tls.crt, key: {0}/tls.key}}"
GZIP = b"\x1f\x8b\x08"
"""Layers begin with it, or skopeo would compress them on their way into a registry."""


class Registry:
    """A registry with its files in ``root``; ended by leaving ``with``.

    ``keys``: a directory with tls.crt and tls.key, for one that speaks TLS only.
    """

    def __init__(self, root: Path, keys: Path | None = None) -> None:
        self.root = root
        self.keys = keys
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        program = need("docker-registry", "docker-registry")
        self.root.mkdir(exist_ok=True)
        self.port = free_port()
        tls = TLS.format(self.keys) if self.keys else ""
        config = self.root / f"config-{self.port}.yml"
        config.write_text(CONFIG.format(root=self.root, port=self.port, tls=tls))
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                words = (self.root / "log").read_text(errors="replace")[-300:]
                raise Missing(f"docker-registry does not start: {words}")
            time.sleep(0.01)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def put_image(self, name: str, layers: int, size: int) -> None:
        """Give it an image of so many layers of ``size`` random bytes, tagged ``v1``.

        Raises:
            Failed: it refuses.
        """
        client = http.client.HTTPConnection("127.0.0.1", self.port)
        parts = [self._put_layer(client, name, size) for _ in range(layers)]
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [part["digest"] for part in parts]},
        }).encode()  # fmt: skip
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._put(client, name, "config.v1+json", [config], len(config)),
            "layers": parts,
        }
        headers = {"Content-Type": manifest["mediaType"]}
        path = f"/v2/{name}/manifests/v1"
        _ask(client, "PUT", path, json.dumps(manifest).encode(), headers)
        client.close()

    def _put_layer(
        self, client: http.client.HTTPConnection, name: str, size: int
    ) -> dict[str, object]:
        return self._put(client, name, "layer.v1.tar+gzip", random_pieces(size), size)

    def _put(
        self,
        client: http.client.HTTPConnection,
        name: str,
        kind: str,
        pieces: Iterable[bytes],
        size: int,
    ) -> dict[str, object]:
        hashed = hashlib.sha256()

        def sent() -> Iterator[bytes]:  # never whole in memory: what we start would inherit that
            for piece in pieces:
                hashed.update(piece)
                yield piece

        location = _ask(client, "POST", f"/v2/{name}/blobs/uploads/", b"", {})
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Range": f"0-{size - 1}",
        }
        location = _ask(client, "PATCH", location, sent(), headers)
        digest = f"sha256:{hashed.hexdigest()}"
        _ask(client, "PUT", f"{location}&digest={digest}", b"", {})
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": digest, "size": size}


def random_pieces(size: int) -> Iterator[bytes]:
    """So many random bytes that look compressed."""
    yield GZIP + os.urandom(min(size, 1 << 20) - len(GZIP))
    for _ in range((size >> 20) - 1):
        yield os.urandom(1 << 20)


def _ask(
    client: http.client.HTTPConnection, method: str, url: str, body: object, headers: object
) -> str:
    client.request(method, url, body, headers)  # type: ignore[arg-type] # bytes or an iterator
    answer = client.getresponse()
    words = answer.read()
    if answer.status not in (201, 202):
        raise Failed(f"docker-registry answers {answer.status}: {words[:200]!r}")
    return answer.headers.get("Location", "")


def free_port() -> int:
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_keys(place: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, its key, and the same as ``ca.crt``."""
    place.mkdir(exist_ok=True)
    argv = [
        need("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(place / "tls.key"), "-out", str(place / "tls.crt"),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"openssl makes no certificate: {done.stderr[-200:]}")
    trusted = place / "trusted"  # skopeo takes every *.crt of a directory, and pairs *.key
    trusted.mkdir(exist_ok=True)
    (trusted / "ca.crt").write_bytes((place / "tls.crt").read_bytes())
    return place
