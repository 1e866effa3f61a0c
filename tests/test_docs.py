"""The documentation is true: every block runs, what is said to be printed is, links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from export.engines import tflm_available
from tests.own_packages import installed
from tests.warm_python import warm_python

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
README = ROOT / "README.md"
TFLM_PAGE = ROOT / "firmware" / "tflm" / "README.md"
#: Pages to look something up in, whose commands have words in capitals: `tests/test_documented_commands.py` runs them.
#: All others are run from top to bottom.
LOOKED_UP = [
    DOCS / f"{name}.md"
    for name in ("benchmarks", "commands", "devices", "lightning", "operators", "promise", "quantization_options")
]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"(?:#|//) save as (\S+)\n")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+")
#: What a page's example changes must be undone: it has the repository to itself.
_IN_A_COPY = {"add_an_operator.md"}
#: Firmware projects carry the arena's size, and a new row is judged by TFLite Micro.
_NEED_TFLM = {"add_an_operator.md", "any_file.md", "add_a_board.md", "tutorial.md"}

#: What the package installs under the name ``qtorch``, in a folder of its own.
_CONSOLE_SCRIPT = "import sys; from export.command_line import main; sys.exit(main())"


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is where its text begins."""

    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2))) for m in _BLOCK.finditer(text)]


def _shell(folder: Path, scripts: Path, text: str, in_a_copy: bool) -> str:
    """What the commands print, one after another; installing from an index is the reader's."""
    printed = ""
    # As for a person who has installed the package: nothing but that is found from everywhere.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["pip", "install"] and words[2].startswith("./"):
            installed(folder / words[2], folder)
        if not words or words[0] == "pip":
            continue
        if words[0] == "python":
            words = [sys.executable, *words[1:]]
        elif words[0] == "qtorch":
            (scripts / "qtorch").write_text(_CONSOLE_SCRIPT)
            words = [sys.executable, str(scripts / "qtorch"), *words[1:]]
        elif words[0] == "cc" and shutil.which("cc") is None:
            pytest.skip("no cc found; apt install gcc")
        if words[0] == sys.executable and not in_a_copy:
            done = warm_python(words[1:], folder)
        else:
            done = subprocess.run(
                words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
            )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        printed += done.stdout
    return printed


def alike(said: str, wanted: str) -> bool:
    """Equal but for spaces, and for the last digits of decimal fractions: processors add in different orders."""
    one, other = ((_NUMBER.sub("#", " ".join(text.split())), _NUMBER.findall(text)) for text in (said, wanted))
    near = all(float(a) == pytest.approx(float(b), rel=0.02, abs=1e-6) for a, b in zip(one[1], other[1], strict=False))
    return one[0] == other[0] and near


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one, to work in; modules saved there are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", [page for page in PAGES if page not in LOOKED_UP], ids=lambda page: page.name)
def test_every_block_runs(page: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = blocks(page)
    assert {block.kind for block in found} <= {"python", "sh", "text", "yaml", "toml", "c", "cpp"}
    if page.name in _NEED_TFLM and not tflm_available():
        pytest.skip("tflite-micro has wheels for Linux x86-64 only; run this test there")
    if page.name in _IN_A_COPY:
        for part in ("qtorch", "export", "recipes", "firmware", "benchmarks", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
    namespace: dict[str, object] = {"__name__": "docs"}
    printed = ""
    for block in found:
        saved = _SAVED.match(block.text)
        where = f"{page.name}:{block.line}"
        if saved:
            target = folder / saved[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.kind == "python":
            heard = io.StringIO()
            with contextlib.redirect_stdout(heard):
                exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
            printed = heard.getvalue()
        elif block.kind == "sh":
            printed = _shell(folder, tmp_path_factory.mktemp("scripts"), block.text, page.name in _IN_A_COPY)
        elif block.kind == "text":
            said, wanted = printed.splitlines(), block.text.splitlines()
            same = len(said) == len(wanted) and all(map(alike, said, wanted))
            assert same, f"{where}: expected\n{block.text}\ngot\n{printed}"
        else:
            raise AssertionError(f"{where}: a block of {block.kind} that is neither saved nor run")
    if namespace.get("absent"):
        pytest.skip(f"all but the sketch ran: {namespace['absent']}")


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    fences = re.findall(r"^```", page.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page)), "a block without a language is one that no test runs"


def anchors(page: Path) -> set[str]:
    """What a link can say behind ``#``: headings in small letters, blanks as dashes, without punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, TFLM_PAGE, *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert links or page == TFLM_PAGE, "a page that leads nowhere"
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), (
            f"{page.name}: {link}: expected one of {sorted(anchors(target))}"
        )


def test_the_index_names_every_page() -> None:
    named = set(_LINK.findall((DOCS / "README.md").read_text()))
    assert {page.name for page in PAGES} - {"README.md"} <= named
