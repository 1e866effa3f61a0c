"""What commands print: plain to a pipe, tables to a terminal, and never anything that steers it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from export.__main__ import main as export_main
from export.bundle.outcome_page import agreement_table
from export.commands.summary_page import summary_page
from export.console.page import Line, Table, plain_text, printable
from export.console.terminal import show
from export.figures.sensitivity import LayerCost, sensitivity_table
from export.opinions.opinion import Opinion, comparison_table
from export.parity.outputs import EngineParity, NotRun
from export.tflite.summary import summarize
from tests.foreign_models import FOREIGN, foreign_model

ROOT = Path(__file__).parents[1]
#: Of colours and weights: the only escape sequence that a page has.
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_MAGENTA = re.compile(r"\x1b\[[0-9;]*35m")

WIDE = Table(
    ("name", "bytes", "made with", "share of all", "note"),
    "lrlrl",
    (
        ("conv_2d_of_the_first_block", 1_234_567, "flatbuffers 25.12.19", "98.79%", "a note of several words " * 4),
        ("dense", 12, "", "1.21%", ""),
        ("x" * 70, 3, "日本語" * 9, "0.00%", "見"),
    ),
    "sizes",
    frozenset({1}),
)


class Screen(io.StringIO):
    """A terminal that remembers."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with colours, whatever the tests run in."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")


def screen(*blocks: Line | Table) -> str:
    shown = Screen()
    show(blocks, shown)
    return shown.getvalue()


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


def test_a_pipe_gets_aligned_lines_whatever_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    pipe = io.StringIO()
    show([Line("sizes", "heading"), WIDE], pipe)
    lines = pipe.getvalue().splitlines()
    assert len(lines) == 2 + len(WIDE.rows)
    assert pipe.getvalue().isascii() is False
    assert not set(pipe.getvalue()) & set("\x1b─│…")
    assert lines[2].startswith("conv_2d_of_the_first_block" + " " * 44 + "  1234567  flatbuffers 25.12.19")
    assert lines[3].startswith("dense" + " " * 72 + "12  ")
    for row, line in zip(WIDE.rows, lines[2:], strict=True):
        assert letters("".join(map(str, row))) == letters(line)


def test_wide_characters_take_two_columns() -> None:
    table = Table(("a", "n"), "lr", (("日本語", 1), ("abcd", 22)))
    assert str(table).splitlines()[1:] == ["日本語   1", "abcd    22"]


@pytest.mark.parametrize("width", [20, 45, 72, 80, 160, 400])
def test_a_terminal_of_any_width_loses_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(width))
    text = _STYLE.sub("", screen(WIDE))
    assert "…" not in text
    assert all(cell_len(line) <= width for line in text.splitlines())
    for row in WIDE.rows:
        assert letters("".join(map(str, row))) <= letters(text)
    # Numbers are whole.
    for number in ("1234567", "98.79%", "1.21%"):
        assert number in text
    assert text.splitlines()[0].rstrip() == "sizes"
    # The head stands once above a table, and beside each cell of a paragraph.
    assert ("─" in text) == (width >= 72)
    assert len(re.findall("bytes", text)) == (1 if width >= 72 else 3)
    assert (len(text.splitlines()) == 3 + len(WIDE.rows)) == (width == 400)


def test_each_column_has_its_side() -> None:
    table = Table(("text", "number", "words"), "lrl", (("a", 1, "b"), ("much longer", 1_000_000, "longer")))
    wanted = ["text          number  words", "a                  1  b", "much longer  1000000  longer"]
    assert str(table).splitlines() == wanted
    shown = [line.rstrip() for line in _STYLE.sub("", screen(table)).splitlines()]
    assert [shown[0], *shown[2:]] == wanted
    assert set(shown[1]) == {"─"}


def test_titles_are_broken_only_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(("op", "zero point"), "lr", (("fully_connected", 3),))
    assert "zero point" in screen(table)
    monkeypatch.setenv("COLUMNS", "23")
    assert "zero point" not in screen(table)
    assert _STYLE.sub("", screen(table)).split()[:3] == ["zero", "op", "point"]


def test_a_line_breaks_between_words_and_a_path_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    path = "a_folder/" * 5
    assert screen(Line(f"written to {path}: now what")).split("\n") == ["written to", f"{path}:", "now what", ""]


def test_rows_that_need_attention_are_highlighted(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = [line for line in screen(WIDE).splitlines() if _MAGENTA.search(line)]
    assert len(marked) == 1
    assert "dense" in marked[0]
    monkeypatch.setenv("COLUMNS", "40")
    assert {"dense" in line or "1.21%" in line for line in screen(WIDE).splitlines() if _MAGENTA.search(line)} == {True}
    assert _MAGENTA.search(screen(Line("saturated", "attention")))
    assert not _MAGENTA.search(screen(Line("saturated"), Line("all is well", "heading")))


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = screen(WIDE, Line("saturated", "attention"))
    assert not re.search(r"\x1b\[[0-9;]*[34]\d", text)
    (line,) = (line for line in text.splitlines() if "dense" in line)
    assert "\x1b[1m" in line, "what needs attention is still bold"


#: Colour and cursor sequences in both alphabets, a line feed, an override of the writing direction, rich's markup.
_STEERING = ("\x1b[31mred", "\x9b2J", "a\rb\nc\td", "\x07\x08\x00", "\u202eabc", "[red]literal[/red]", "[/]", ":smile:")


@pytest.mark.parametrize("columns", ["120", "24"])
@pytest.mark.parametrize("text", _STEERING)
def test_strings_of_a_file_never_steer_the_terminal(text: str, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table((text, text), "lr", ((text, 1), ("plain", text)), text, frozenset({1}))
    shown = _STYLE.sub("", screen(Line(text), Line(text, "attention"), Line(text, "heading"), table))
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    if columns == "120":
        assert shown.count(printable(text)) == 8
        assert len(shown.splitlines()) == 8
    piped = plain_text((Line(text), table))
    assert piped.count(printable(text)) == 5
    assert all(c.isprintable() for c in piped.replace("\n", ""))


def test_a_tensor_whose_name_is_markup_is_shown_as_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FOREIGN["float_with_dynamic_shapes"]()
    model.subgraphs[0].tensors[1].name = "[red]kernel\x1b[2J"
    model.subgraphs[0].name = "[bold]main"
    (tmp_path / "model.tflite").write_bytes(foreign_model(model))
    monkeypatch.setattr(sys, "stdout", Screen())
    assert export_main(["summary", str(tmp_path / "model.tflite")]) == 0
    text = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "[red]kernel\\x1b[2J" in text
    assert "subgraph 0 [bold]main" in text
    assert "\x1b" in text
    assert "\x1b" not in _STYLE.sub("", text)


def test_json_is_json_in_a_terminal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.tflite").write_bytes(foreign_model(FOREIGN["custom_and_unknown_ops"]()))
    monkeypatch.setattr(sys, "stdout", Screen())
    assert export_main(["summary", str(tmp_path / "model.tflite"), "--json"]) == 0
    assert json.loads(sys.stdout.getvalue())["subgraphs"]  # type: ignore[attr-defined]
    assert "\x1b" not in sys.stdout.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [False, True])
def test_what_the_encoding_lacks_is_escaped(terminal: bool) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    if terminal:
        stream.isatty = lambda: True  # type: ignore[method-assign]
    show([Line("é"), Table(("ü",), "l", (("日本",),), "ö")], stream)
    stream.flush()
    text = raw.getvalue().decode("ascii")
    for word in ("\\xe9", "\\xfc", "\\u65e5\\u672c", *(("\\xf6",) if terminal else ())):
        assert word in text


def test_an_empty_table_has_a_head() -> None:
    table = Table(("op", ""), "rl", ())
    assert plain_text([table]) == str(table) == "op"
    assert "op" in screen(table)


@pytest.mark.parametrize(("align", "row"), [("l", ("a", "b")), ("lr", ("a",)), ("lrl", ("a", "b"))])
def test_a_table_has_as_many_cells_as_titles(align: str, row: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected 2 cells as in"):
        Table(("one", "two"), align, (row,))


def everything(descriptor: int) -> str:
    """What a pseudo-terminal was sent; Linux reports its end as an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(descriptor, 4096):
            shown += part
    return shown.decode()


def test_a_real_terminal_and_a_real_pipe() -> None:
    pytest.importorskip("pty", reason="no pseudo-terminals on this system; run this test on Linux or macOS")
    import fcntl
    import termios

    page = "[Table(('op', 'note'), 'll', (('add', 'word ' * 20),), 'operators')]"
    code = f"from export.console.page import Table; from export.console.terminal import show; show({page})"
    command = [sys.executable, "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {"PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"}
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert piped.splitlines()[1].split() == ["add", *["word"] * 20]
    assert "\x1b" not in piped
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 38, 0, 0))
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        text = everything(main)
    os.close(main)
    assert process.returncode == 0, text
    assert "\x1b[1m" in text
    lines = _STYLE.sub("", text).splitlines()
    assert lines[0] == "operators"
    assert max(map(len, lines)) <= 38
    assert text.count("word") == 20


def test_rich_is_imported_only_for_who_sees_it() -> None:
    code = "import sys, io, export.console.page, export.console.terminal as t; "
    code += "print([m for m in sys.modules if m.startswith('rich')])"
    code += "; t.show([t.Line('x')], io.StringIO()); print('rich.console' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


def test_engines_that_disagree_or_did_not_run_are_marked() -> None:
    engines = {
        "tflm": EngineParity("1", 10, 10, 0, 0),
        "litert_reference": EngineParity("1", 10, 10, 1, 2),
    }
    table = agreement_table(engines, ("tflm, every node",), {"litert_default": NotRun("1", "no kernel for it")})
    assert table.attention == {1, 2}
    assert table.rows[0] == ("tflm", 10, "100.00%", 0, "must agree, every node")
    assert table.rows[2] == ("litert_default", "", "", "", "not run: no kernel for it")


def test_dear_layers_are_marked() -> None:
    noises = (("(none)", 0.0), ("0", 0.6), ("1", 0.5), ("2", 0.49), ("(all)", 1.0))
    costs = [LayerCost(name, "conv_2d", "w8 a8", noise, {"mse": 1.0}) for name, noise in noises]
    table = sensitivity_table(costs, ("mse",))
    assert table.attention == {1, 2}
    assert [row[3] for row in table.rows] == ["none", "-2.2 dB", "-3.0 dB", "-3.1 dB", "0.0 dB"]
    assert sensitivity_table(costs[:1], ()).attention == set()


def test_opinions_on_other_grids_are_no_disagreement() -> None:
    from export.opinions.grids import GridAgreement

    same, other = GridAgreement(3, 3, 0.0), GridAgreement(3, 2, 0.1)
    opinions = (
        Opinion("right", "1", 10, 1, same, 10, 1.0, 0, seconds=1.0),
        Opinion("wrong", "1", 10, 1, same, 10, 0.9, 1, seconds=1.0),
        Opinion("own grids", "1", 10, 1, other, 10, 0.9, 1, seconds=1.0),
        Opinion("float", "1", 10, 1, None, 10, 0.9, 1, seconds=1.0),
        Opinion("network", "1", None, None, None, 10, 0.9, 1, seconds=1.0),
        Opinion("absent", note="not installed: pip install it"),
        Opinion("broken", note="failed: RuntimeError: no luck"),
    )
    assert comparison_table(opinions, "mse").attention == {1, 4, 6}


def test_what_is_odd_in_a_file_is_marked() -> None:
    def marked(name: str) -> list[str]:
        tables = [each for each in summary_page(summarize(foreign_model(FOREIGN[name]()))) if isinstance(each, Table)]
        return [str(cell) for table in tables for i in sorted(table.attention) for cell in table.rows[i]]

    assert marked("custom_and_unknown_ops").count("UNKNOWN:9999") == 2, "among the ops used, and in their order"
    assert any("a scale of nan" in cell for cell in marked("two_subgraphs"))
    assert marked("float_with_dynamic_shapes") == []
