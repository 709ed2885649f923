"""A store without any optional role pulls from a real registry and pushes to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from registries import DockerRegistry

from contentui.cli.main import main
from contentui.content.digest import Digest
from contentui.demo.unpackable import make_unpackable
from contentui.stores import open as opening
from contentui.stores.memory import MemoryStore
from contentui.stores.source import parse

SOURCE = "minimal://transfers"
IMAGE = make_unpackable(11, [3 << 20, 5000])


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What is in the store."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tui")
    import minimal_store

    monkeypatch.setitem(opening.OPENERS, "minimal", "minimal_store")
    made: MemoryStore = minimal_store.STORES.setdefault(parse(SOURCE).path, MemoryStore())
    return made


def test_a_pull_and_a_push(
    content: MemoryStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        name = registry.push("team/app", IMAGE)
        assert main(["--store", SOURCE, "pull", "-q", name]) == 0
        assert capfd.readouterr().out == f"{IMAGE.digest}\n"
        assert {info.digest for info in content.walk()} == {*IMAGE.blobs, IMAGE.digest}
        assert content.statuses() == []
        copy = f"{registry.host}/team/copy:v2"
        assert main(["--store", SOURCE, "push", "-q", copy, IMAGE.digest]) == 0
        content.delete(Digest.of(IMAGE.layers[0]))
        assert main(["--store", SOURCE, "fetch", "-q", copy]) == 0
        assert content.info(Digest.of(IMAGE.layers[0])).size == len(IMAGE.layers[0])
