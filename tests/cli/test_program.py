"""The program around the verbs: help, errors, exit codes, pipes, completion."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from contentui import __version__
from contentui.cli.commands import ALIASES, COMMANDS, COMMON_NAMES, load
from contentui.cli.exits import Exit, exit_for
from contentui.content import errors
from contentui.content.digest import Digest

ONE = Digest.of(b"1")


def test_version_and_help(program):
    assert program.ok("--version") == f"contentui {__version__}\n"
    text = program.ok("--help")
    for name in COMMANDS:
        assert f"\n  {name:<14}" in text
    assert "exit codes:" in text


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_verb_has_help_with_examples(program, name):
    text = program.ok(name, "--help")
    assert text.startswith(f"usage: contentui {name} ")
    assert f"contentui {name}" in text.split("examples:")[1] or name == "ui"
    assert load(name).__doc__
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "words",
    [
        ["lst"],
        ["list", "--jsn"],
        ["list", "--js"],
        ["list", "-q", "--json"],
        ["--nonsense"],
        ["status"],
        ["info", "sha256:12"],
        ["info", "sha512:" + "0" * 64],
        ["status", ""],
        ["list", "--store"],
        ["--store", "tcp://x", "list"],
        ["--store", "", "list"],
        ["list", "--store="],
        ["list", "--", "--store", ""],
        ["fetch", "docker.io/library/redis", "7.4"],
        ["completion", "fish"],
        ["active", "--interval", "0"],
    ],
)
def test_nonsense_is_a_usage_error_in_words(program, words):
    ran = program(*words)
    assert ran.code == 2
    assert ran.err.startswith("contentui: ")
    assert ran.out == ""


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["lst"], "do you mean 'list'?"),
        (["LIST"], "do you mean 'list'?"),
        (["ver"], "do you mean 'verify'?"),
        (["fetch_object"], "do you mean 'fetch-object'?"),
        (["cat", "sha256:84"], "do you mean 'get'?"),
        (["content", "ls"], "leave it out, as in 'contentui ls'"),
        (["help"], "do you mean '--help'?"),
        (["fetch", "repo", "two words"], "contentui fetch-object repo 'two words'"),
    ],
)
def test_a_near_miss_is_suggested(program, words, suggestion):
    assert suggestion in program(*words).err


def test_every_suggestion_is_a_command():
    assert set(COMMON_NAMES.values()) <= set(COMMANDS)
    assert not (set(COMMON_NAMES) | set(ALIASES)) & set(COMMANDS)


def test_ls_and_rm(program):
    program.ok("ingest", "a", stdin=b"1")
    assert program.ok("ls", "-q") == program.ok("list", "-q") == f"{ONE}\n"
    assert program.ok("rm", ONE) == f"{ONE}\n"
    assert program.ok("ls", "-q") == ""


@pytest.mark.parametrize("verb", ["del", "remove"])
def test_other_names_of_delete(program, verb):
    program.ok("ingest", "a", stdin=b"1")
    assert program.ok(verb, ONE) == f"{ONE}\n"
    assert program.ok("ls", "-q") == ""


def test_an_empty_variable_is_one_that_is_not_set(program):
    program.ok("ingest", "a", stdin=b"1")
    assert program("list", "-q", CONTENTUI_STORE="").out == f"{ONE}\n"
    assert program("--store", "", "list", "-q", CONTENTUI_STORE=".content").code == 2


@pytest.mark.parametrize("verb", [["list"], ["active"], ["info", ONE], ["delete", ONE], ["verify"]])
def test_no_store_is_not_found_and_none_is_made(program, verb):
    ran = program(*verb)
    assert ran.code == 5
    assert "no content store at .content" in ran.err
    assert "--store" in ran.err
    assert list(program.folder.iterdir()) == []


def test_the_store_is_named_before_or_after_the_command_or_around(program):
    program.ok("--store", "here", "ingest", "a", stdin=b"1")
    assert program.ok("list", "-q", "--store", "here") == f"{ONE}\n"
    assert program.ok("list", "-q", "--store=here") == f"{ONE}\n"
    assert program("list", "-q", CONTENTUI_STORE="here").out == f"{ONE}\n"
    assert program("list", "-q").code == 5
    assert program("--store", "there", "list", "--store", "here", "-q").out == f"{ONE}\n"


def test_without_a_terminal_there_is_no_screen(program):
    for words in ([], ["ui"], ["demo"]):
        ran = program(*words)
        assert ran.code == 2
        assert "terminal" in ran.err


def test_hostile_arguments_are_made_visible(program):
    ran = program("list\x1b[31m\n")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    program.ok("ingest", "a", stdin=b"1")
    ran = program("status", "\x1b]0;title\x07")
    assert ran.code == 5
    assert "\x1b" not in ran.err


def test_a_reader_that_goes_early_is_no_error(program):
    store = program.store()
    store.put_many(str(number).encode() for number in range(3000))
    store.close()
    ran = program.shell("set -o pipefail; contentui list | head -n 1; echo ${PIPESTATUS[0]}")
    assert ran.lines[0].split()[0] == "DIGEST"
    assert ran.lines[1] == "141"
    assert ran.err == ""
    unbuffered = program.shell("PYTHONUNBUFFERED=1 contentui list | wc -l")
    assert unbuffered.out.strip() == "3001"
    early = program.shell("PYTHONUNBUFFERED=1 contentui list | head -n 1; echo ${PIPESTATUS[0]}")
    assert early.lines[1] == "141"


def test_a_full_disk_behind_the_output_is_told(program):
    program.ok("ingest", "a", stdin=b"1")
    for verb in ("list", "list -q", "list --json", f"get {ONE}", "--help"):
        ran = program.shell(f"contentui {verb} > /dev/full")
        assert ran.code == 1, (verb, ran)
        assert "No space left" in ran.err
    assert program.shell("contentui list >&-").code == 1


def test_ten_parallel_ingests_and_an_emptying_pipeline(program):
    for number in range(10):
        (program.folder / f"{number}.tar").write_bytes(str(number).encode() * 100_000)
    ran = program.shell(
        "printf '%s\\n' *.tar | xargs -P10 -I{} contentui ingest layer-{} --from {}"
    )
    assert ran.code == 0, ran
    assert len(set(ran.lines)) == 10
    assert len(program("list", "-q").lines) == 10
    assert program.ok("active", "-q") == ""
    emptied = program.shell("contentui list -q | xargs contentui delete && contentui list -q")
    assert emptied.code == 0
    assert len(emptied.lines) == 10
    assert program.ok("list", "-q") == ""


def test_the_readme_s_parallel_ingests_of_repeated_content(program):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [example] = [line.strip() for line in readme.splitlines() if "xargs -P10" in line]
    for number in range(20):
        (program.folder / f"{number}.tar").write_bytes(b"the same in each " * 100_000)
    # Twice at once: also the refs are repeated then.
    ran = program.shell(f"{example} & {example}; first=$?; wait $! && exit $first")
    assert ran.code == 0, ran
    assert len(ran.lines) == 40
    assert set(ran.lines) == set(program("list", "-q").lines)
    assert program.ok("active", "-q") == ""


def test_aborting_by_pipe(program):
    for ref in ("one", "two words", "three\nlines", 'quo"te'):
        program.leave_ingest(ref, b"1")
    ran = program.shell("contentui active -q | xargs contentui abort")
    assert ran.code == 0, ran
    assert len(ran.lines) == 4
    assert program.ok("active", "-q") == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), Exit.NOT_FOUND),
        (errors.Locked("x"), Exit.LOCKED),
        (errors.DataLoss("x"), Exit.FINDINGS),
        (errors.InvalidArgument("x"), Exit.USAGE),
        (errors.Changed("x"), Exit.FAILED),
        (errors.Unavailable("x"), Exit.FAILED),
        (PermissionError(13, "x"), Exit.FAILED),
        (FileNotFoundError(2, "x"), Exit.NOT_FOUND),
    ],
)
def test_errors_and_their_codes(error, code):
    assert exit_for(error) is code


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts(program, shell):
    script = program.ok("completion", shell)
    assert "abort" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script.encode()).returncode == 0
        words = "COMP_WORDS=(contentui --store x de); COMP_CWORD=3; _shtab_contentui; "
        asked = f"{script}\n{words}echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", asked], capture_output=True)
        assert done.stdout.decode().split() == ["demo", "delete", "del"]


def test_adopt_takes_the_daemons_root_too_but_not_read_only(program):
    content = program.folder / "node/io.containerd.content.v1.content"
    content.mkdir(parents=True)
    database = program.folder / "node/io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir()
    database.touch()
    ran = program("--read-only", "adopt", "node")
    assert ran.code == 1
    assert "--read-only" in ran.err
    assert list(content.iterdir()) == []
    program.ok("adopt", "node")
    program.ok("--store", "node", "ingest", "a", stdin=b"1")


def test_adopt_of_nothing_is_an_error(program):
    assert program("adopt", "nowhere").code != 0


def test_the_documentation_knows_every_verb_field_and_code(program):
    docs = Path(__file__).parents[2] / "docs"
    text, fields = (docs / "cli.md").read_text(), (docs / "json.md").read_text()
    for name in COMMANDS:
        assert f"| `{name}" in text, name
    program.ok("ingest", "a", stdin=b"1")
    program.leave_ingest("half", b"123")
    for words in (["list"], ["active", "--verdict"], ["verify"], ["abort", "half"]):
        for line in program(*words, "--json").lines:
            for field in json.loads(line):
                assert f"`{field}`" in fields, field
    for code in Exit:
        assert f"\n| `{code.value}` | " in text
