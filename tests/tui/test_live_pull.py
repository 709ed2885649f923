"""A real pull in another process, over a slow and breaking link, on the screen."""

from __future__ import annotations

import asyncio
import os
import re
import sys

from running import running

from contentui.content.digest import Digest
from contentui.demo.registry import Registry, Throttle
from contentui.demo.unpackable import make_unpackable
from contentui.present.columns import Heading
from contentui.stores.source import parse
from contentui.tui.session import Session

IMAGE = make_unpackable(4, (1_150_000, 1_250_000))


async def pull(where, name, folder):
    nowhere = {"DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(folder / "none")}
    command = ["-m", "contentui", "--store", where, "pull", "--plain-http", name]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**os.environ, **nowhere, "NO_PROXY": "127.0.0.1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def test_a_pull_appears_as_a_group_tells_its_retries_and_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = str(tmp_path / "store")
    slow, often = map(Digest.of, IMAGE.layers)
    link = Throttle(500_000)
    # Each attempt brings 8 KiB, which is less than counts as progress.
    link.cuts = {often: [200_000 + step * 8_192 for step in range(3)]}
    with Registry(link) as registry:
        name = registry.add(IMAGE, "acme/billing:1.4")
        async with running(Session(parse(where), create=True)) as ui:
            await ui.shown()
            table = ui.dashboard.ingests.table
            child = await pull(where, name, tmp_path)
            try:
                await ui.until(lambda: len(table.rows) == 3)
                heading, *members = table.rows
                assert isinstance(heading, Heading)
                wanted = {f"layer-{slow}", f"layer-{often}"}
                assert {row.status.ref for row in members} == wanted
                assert "acme/billing:1.4" in ui.text()
                total = sum(len(data) for data in (*IMAGE.layers, IMAGE.config))
                await ui.until(lambda: ui.dashboard.store_view.groups[0].total == total)
                await ui.until(lambda: ui.dashboard.store_view.groups[0].eta_s is not None)
                # The row is shown like this only until the next attempt.
                await ui.until(lambda: re.search(r"/6\): ended", ui.text()) is not None)
                assert await asyncio.wait_for(child.wait(), 30) == 0
                await ui.until(lambda: not table.rows)
                assert not ui.dashboard.store_view.groups
                for digest in IMAGE.blobs:
                    await ui.until(
                        lambda d=digest: d in {b.info.digest for b in ui.dashboard.blobs.shown}
                    )
            finally:
                if child.returncode is None:
                    child.kill()
                    await child.wait()


async def test_a_pull_that_is_killed_is_said_to_have_ended_early(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    where = str(tmp_path / "store")
    with Registry(Throttle(200_000)) as registry:
        name = registry.add(IMAGE, "acme/billing:1.4")
        async with running(Session(parse(where), create=True)) as ui:
            await ui.shown()
            child = await pull(where, name, tmp_path)
            await ui.until(lambda: len(ui.dashboard.ingests.table.rows) == 3)
            child.kill()
            await child.wait()
            await ui.until(lambda: f"ended early: pid {child.pid} (" in ui.text())
            assert len(ui.dashboard.ingests.shown) == 2
