"""The README can be read in five minutes, and its example runs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.test_docs import LOOKED_UP, README, ROOT, alike, blocks
from tests.test_documented_commands import run

TEXT = README.read_text()
BLOCKS = blocks(README)


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 200
    prose = re.sub(r"^```text\n.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL).splitlines()
    assert max(len(line) for line in prose if not line.startswith(("|", "<img"))) <= 120


def test_the_readme_leads_to_what_it_used_to_say() -> None:
    assert {page.name for page in LOOKED_UP} <= set(re.findall(r"\]\(docs/([\w.]+)", TEXT))


def pieces(text: str) -> list[str]:
    """What stands between lines of three dots, which stand for lines that are left out."""
    return [piece for piece in re.split(r"^\.\.\.\n", text, flags=re.MULTILINE) if piece.strip()]


def require_pieces(wanted: str, printed: str) -> None:
    """Every piece stands in what is printed, in this order, whole lines each."""
    lines, first = printed.splitlines(), 0
    for piece in pieces(wanted):
        expected = piece.splitlines()
        places = range(first, len(lines) - len(expected) + 1)
        here = [i for i in places if all(map(alike, lines[i : i + len(expected)], expected))]
        assert here, f"expected\n{piece}\nin\n{printed}"
        first = here[0] + len(expected)


@pytest.mark.tflm
@pytest.mark.usefixtures("one_thread", "all_drawn_inputs")
def test_the_example_prints_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (i,) = (i for i, block in enumerate(BLOCKS) if block.kind == "python")
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        exec(compile(BLOCKS[i].text, "README.md", "exec"), {})
    require_pieces(BLOCKS[i + 1].text, heard.getvalue())
    assert (tmp_path / "build" / "light" / "project" / "examples" / "Light" / "Light.ino").exists()
    # Its lines of code, those that a person types: the data and what is imported aside.
    typed = BLOCKS[i].text.split("net = nn")[1].strip().splitlines()
    assert len(typed) <= 14


@pytest.mark.slow
@pytest.mark.tflm
@pytest.mark.usefixtures("one_thread", "all_drawn_inputs")
def test_make_run_prints_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^run:.*\n\t\$\(BIN\)/python -m (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    (wanted,) = (block.text for block in BLOCKS if block.kind == "text" and block.text.startswith("test set"))
    assert run(command) == 0
    require_pieces(wanted, capsys.readouterr().out)


def test_what_is_not_printed_is_noticed() -> None:
    require_pieces("a\n...\nd 1.00\n", "a\nb\nc\nd 1.01\n")
    for wanted in ("a\nc\n", "d 1.5\n", "c\n...\na\n"):
        with pytest.raises(AssertionError, match="expected"):
            require_pieces(wanted, "a\nb\nc\nd 1.01\n")
