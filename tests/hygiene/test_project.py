"""What the project says about itself is so, and it speaks of no place but itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from doc_tables import TABLES, find_table

import contentui

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "bench", "contentui", "docs", "screenshots", "tests")
"""What is looked at where git can't tell what is tracked."""
USUAL = {"bin", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "root", "run", "srv", "sys",
         "tmp", "usr", "var", "builds", "data"}  # fmt: skip
"""Folders at the top of any machine: a path that only begins with one betrays no workplace."""


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the project."""
    command = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        found = [path for path in ROOT.iterdir() if path.is_file()]
        for folder in FOLDERS:
            found += (ROOT / folder).rglob("*")
        found = [path for path in found if not set(path.parts) & {"__pycache__", ".work"}]
        return tuple(path for path in found if path.is_file())
    paths = (ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name)
    return tuple(path for path in paths if path.is_file())


@cache
def texts() -> dict[str, str]:
    """Every file of the project, by its name."""
    return {
        str(path.relative_to(ROOT)): path.read_bytes().decode("utf-8", "replace")
        for path in tracked()
    }


def mentions(pattern: str) -> list[str]:
    """Where a regular expression occurs, as ``file: line``."""
    search = re.compile(pattern, re.IGNORECASE).search
    return [
        f"{name}: {line.strip()[:120]}"
        for name, text in texts().items()
        if search(text)
        for line in text.splitlines()
        if search(line)
    ]


def own_places() -> list[str]:
    """This checkout's path, and the folders above it that no other machine has."""
    places = [str(ROOT), sys.prefix]
    for place in (ROOT, Path(sys.prefix)):
        top = place.parts[1]
        if top not in USUAL:
            places.append(f"/{top}")
    return places


def test_no_file_names_a_place_on_the_machine_it_was_made_on():
    pattern = "|".join(rf"(?<![\w.}}/]){re.escape(place)}(?![\w-])" for place in own_places())
    assert mentions(pattern) == []


def test_no_file_names_a_registry_of_packages():
    hosts = ["pypi" + r"\.org", "python" + r"hosted\.org"]
    indexes = [value for name, value in os.environ.items() if name.endswith("INDEX_URL")]
    for index in indexes:
        host = index.partition("://")[2].rpartition("@")[2].partition("/")[0]
        if host:
            hosts.append(re.escape(host))
    assert mentions("|".join(hosts)) == []


def test_no_lock_file():
    names = {path.name for path in tracked()}
    assert not names & {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}


def test_the_readme_gives_commands_that_the_makefile_has():
    makefile = texts()["Makefile"]
    given = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\n])", texts()["README.md"]))
    assert {"demo", "test", "install"} <= given
    for target in given:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_ci_runs_the_readme_s_test_command():
    lines = [line for line in texts()[".ci/run"].splitlines() if line and line[0] != "#"]
    assert lines[-1] == "make test"
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_in_docs_match_the_code(name):
    page, make = TABLES[name]
    found = find_table(name, texts()[f"docs/{page}"])
    assert found.group() == make(), "'make tables' updates it"


@pytest.mark.parametrize("name", [name for name in texts() if name.endswith(".md")])
def test_links_point_to_files(name):
    missing = [
        target
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", texts()[name])
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert missing == []


def test_the_changelog_has_the_current_version():
    assert f"## [{contentui.__version__}]" in texts()["CHANGELOG.md"]


OCI_IMAGE_SPEC = r"OCI\s+image[\s-]spec"
ELSEWHERE = {
    "annotations.md": OCI_IMAGE_SPEC,
    "descriptor.md": OCI_IMAGE_SPEC,
    "image-index.md": OCI_IMAGE_SPEC,
    "image-layout.md": OCI_IMAGE_SPEC,
    "manifest.md": OCI_IMAGE_SPEC,
    "media-types.md": OCI_IMAGE_SPEC,
    "docs/garbage-collection.md": "containerd",
    "docs/hosts.md": "containerd",
}
"""Pages of other projects that may be cited; a file that cites one must name its project."""


def test_cited_pages_exist_here_or_are_of_a_named_project():
    pages = {name for name in texts() if name.endswith(".md")}
    names = {Path(page).name for page in pages}
    missing = []
    for file, text in texts().items():
        if file.endswith(".svg"):
            continue
        for cited in set(re.findall(r"(?<![\w*./-])[\w./-]*\w\.md\b", text)):
            here = cited in pages or (ROOT / file).parent.joinpath(cited).exists()
            if here or cited in names or cited in ELSEWHERE:
                continue
            missing.append(f"{file}: {cited}")
    assert missing == []


@pytest.mark.parametrize("cited", ELSEWHERE)
def test_pages_of_other_projects_are_cited_with_the_project(cited):
    project = ELSEWHERE[cited]
    pattern = rf"\b{re.escape(cited)}\b"
    unnamed = [
        name
        for name, text in texts().items()
        if name != "tests/hygiene/test_project.py"
        and re.search(pattern, text)
        and not re.search(project, text)
    ]
    assert unnamed == []
