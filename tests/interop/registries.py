"""A real registry of our own, and images as an archive or pushed there."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Self

from interop_live import await_true, unavailable

from contentui.demo.unpackable import MANIFEST, Unpackable
from contentui.oci.media_types import OCI_INDEX

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""


def all_blobs(image: Unpackable) -> dict[str, bytes]:
    """Every blob of an image by digest, its manifest too."""
    return {str(digest): data for digest, data in image.blobs.items()} | {
        str(image.digest): image.manifest
    }


def archive_of(image: Unpackable, name: str) -> bytes:
    """An OCI archive, as ``ctr images import`` takes it, with the image under ``name``."""
    target = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    files = {f"blobs/sha256/{digest[7:]}": data for digest, data in all_blobs(image).items()}
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [target]}).encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def archived_blobs(archive: bytes) -> dict[str, bytes]:
    """The blobs in an OCI archive, by digest."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if member.name.startswith("blobs/sha256/") and (content := files.extractfile(member)):
                found[f"sha256:{member.name.rpartition('/')[2]}"] = content.read()
    return found


class DockerRegistry:
    """Debian's docker-registry on a port of its own, empty at first."""

    def __init__(self, place: Path, *, users: str = "") -> None:
        """``users``: the content of an htpasswd file; empty: no password is wanted."""
        self._place = place
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""

    def __enter__(self) -> Self:
        program = shutil.which("docker-registry")
        if program is None:
            unavailable("docker-registry is not installed (apt install docker-registry)")
        self._place.mkdir(parents=True)
        config = self._place / "config.yml"
        text = CONFIG.format(root=self._place / "data")
        if self._users:
            users = self._place / "htpasswd"
            users.write_text(self._users)
            text += f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n"
        config.write_text(text)
        with (self._place / "log").open("wb") as log:
            argv = [program, "serve", str(config)]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            await_true(lambda: bool(self._listening()))
        except AssertionError:
            self.stop()
            raise
        self.host = self._listening()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _listening(self) -> str:
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", (self._place / "log").read_text())
        return found[1] if found else ""

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def push(self, name: str, image: Unpackable, tag: str = "latest", *, account: str = "") -> str:
        """Put an image there, byte for byte; returns its reference. ``account``: user:password."""
        connection = http.client.HTTPConnection(self.host)
        basic = f"Basic {base64.b64encode(account.encode()).decode()}"
        sent = {"Authorization": basic} if account else {}
        for digest, data in image.blobs.items():
            connection.request("POST", f"/v2/{name}/blobs/uploads/", headers=sent)
            place = _done(connection, 202)
            kind = {**sent, "Content-Type": "application/octet-stream"}
            connection.request("PUT", f"{place}&digest={digest}", data, kind)
            _done(connection, 201)
        path = f"/v2/{name}/manifests/{tag}"
        connection.request("PUT", path, image.manifest, {**sent, "Content-Type": MANIFEST})
        _done(connection, 201)
        connection.close()
        return f"{self.host}/{name}:{tag}"

    def digest_of(self, name: str, tag: str) -> str | None:
        """The digest of a tag or manifest there; None: it is not there."""
        connection = http.client.HTTPConnection(self.host)
        accept = f"{MANIFEST}, {OCI_INDEX}"
        connection.request("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": accept})
        answer = connection.getresponse()
        connection.close()
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None


def _done(connection: http.client.HTTPConnection, status: int) -> str:
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == status, said
    return answer.headers.get("Location", "")
