"""Bars in a terminal and in a notebook, lines in a pipe, and nothing behind them, whatever happens."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from qtorch.progress import hidden, in_lines, numbered, quiet, rows, stage, stages, steps
from qtorch.progress.rows import Row
from qtorch.progress.stages import Stage
from qtorch.progress.surfaces import LineSurface, TerminalSurface
from tests.test_terminal import ROOT, everything

_CLEARED = "\x1b[2K"


class Terminal(io.StringIO):
    """Looks like one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Makes a terminal of stderr, in which bars come at once; called by the test, because pytest puts its own there."""

    def terminal() -> Terminal:
        file = Terminal()
        monkeypatch.setattr(sys, "stderr", file)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(rows, "MOMENT", 0.02)
        return file

    return terminal


def _waited(file: io.StringIO, words: str, seconds: float = 10.0) -> bool:
    """Whether they come within some seconds."""
    until = time.monotonic() + seconds
    while words not in file.getvalue() and time.monotonic() < until:
        time.sleep(0.005)
    return words in file.getvalue()


def _extents(*described: tuple[str, int | None, int, bool, float]) -> list[Stage]:
    made = []
    for words, total, done, numbers, began in described:
        made.append(Stage(words, total, numbers))
        made[-1].done, made[-1].began = done, began
    return made


def test_stages_with_a_known_end_have_a_row_each() -> None:
    several = _extents(("comparing", None, 0, False, 0.0), ("tflm", None, 0, False, 0.0), ("inputs", 8, 3, False, 0.5))
    assert rows.rows(several, 2.0) == (Row("comparing: tflm: inputs", 3, 8, 1.5),)
    # The last one is too young.
    assert rows.rows(several, 1.0) == (Row("comparing: tflm", 0, None, 1.0),)
    step = _extents(
        ("exporting", 9, 4, True, 0.0), ("comparing", None, 0, False, 7.9), ("inputs", 0, 0, False, 0.0),
        ("layers", 10, 12, False, 2.0),
    )  # fmt: skip
    assert rows.rows(step, 8.0) == (Row("5/9 comparing", 4, 9, 8.0), Row("inputs: layers", 10, 10, 6.0))
    assert rows.rows(step[:1], 8.0) == (Row("exporting", 4, 9, 8.0),)
    assert Row("", 999, 1000, 0.0).percent == "99%"


def test_a_bar_grows_and_goes(opened: Callable[[], Terminal]) -> None:
    terminal = opened()
    before, threads = (sys.stdout, sys.stderr), threading.active_count()
    with numbered("all", 2), stage("first"):
        for i in steps(range(4), "inputs"):
            assert _waited(terminal, ("inputs", "25%", "50%", "75%")[i])
    shown = terminal.getvalue()
    assert "1/2 first" in shown
    assert shown.endswith(_CLEARED)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert (sys.stdout, sys.stderr) == before
    assert threading.active_count() == threads


def test_a_bar_goes_when_work_fails(opened: Callable[[], Terminal]) -> None:
    terminal = opened()

    def work() -> None:
        with stage("failing"):
            assert _waited(terminal, "failing")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    shown = terminal.getvalue()
    assert shown.endswith(_CLEARED)
    for _ in steps([1, 2], "left early"):
        assert _waited(terminal, "left early")
        break
    assert terminal.getvalue().endswith(_CLEARED)
    assert not stages._DISPLAYS


def test_what_is_printed_stands_above_the_bar(opened: Callable[[], Terminal]) -> None:
    terminal = opened()
    with stage("working"):
        assert _waited(terminal, "working")
        print("half", end="", file=sys.stderr)
        length = len(terminal.getvalue())
        time.sleep(0.25)
        # No bar stands behind a line that has no end yet.
        assert terminal.getvalue()[length:] == ""
        print(" a line", file=sys.stderr)
        assert _waited(terminal, f"{_CLEARED}half a line\n\x1b[?25l")
        with hidden():
            assert terminal.getvalue().endswith(_CLEARED)
            length = len(terminal.getvalue())
            time.sleep(0.25)
            assert len(terminal.getvalue()) == length


def test_a_row_is_never_wider_than_the_terminal(
    opened: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = opened()
    for columns in (80, 45, 20):
        monkeypatch.setenv("COLUMNS", str(columns))
        surface = TerminalSurface(terminal)
        terminal.truncate(0)
        terminal.seek(0)
        surface.draw([Row("word " * 40, 1, 2, 0.0), Row("bad\x1b[31m\n", 0, None, 3700.0)])
        drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).replace("\r", "").split("\n")
        surface.erase()
        assert len(drawn) == 2
        assert max(map(len, drawn)) <= columns
        assert [(" 50%    0:00" in line, " 1:01:40" in line) for line in drawn] == [(True, False), (False, True)]
    assert "[31m" not in terminal.getvalue().replace("?[31m?", "")


def test_what_the_terminal_cannot_encode_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(rows, "MOMENT", 0.0)
    with stage("Ä", 2):
        until = time.monotonic() + 10
        while not raw.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
    stream.flush()
    assert "\\xc4" in raw.getvalue().decode("ascii")


def test_a_long_stage_is_named_once_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOMENT", 0.02)
    file = io.StringIO()
    with in_lines(file), numbered("all", 1), stage("counting"):
        with stage("inside", 7):
            assert _waited(file, "counting ...\n")
        time.sleep(0.06)
    assert file.getvalue() == "counting ...\n"


def test_a_short_or_failing_stage_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOMENT", 0.05)
    file, before = io.StringIO(), threading.active_count()
    with in_lines(file):
        with stage("short"):
            pass
        with pytest.raises(ZeroDivisionError), stage("failing"):
            raise ZeroDivisionError
        time.sleep(0.1)
    assert (file.getvalue(), threading.active_count()) == ("", before)


def test_a_pipe_hears_nothing_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    file, before = io.StringIO(), threading.active_count()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(rows, "MOMENT", 0.0)
    with stage("calibrating"):
        assert threading.active_count() == before
        time.sleep(0.02)
    assert file.getvalue() == ""


@pytest.mark.parametrize("way", ["variable", "caller", "rank", "thread", "dumb"])
def test_nothing_is_shown_to_who_does_not_want_it(
    way: str, opened: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = opened()
    if way == "variable":
        monkeypatch.setenv("QTORCH_PROGRESS", "0")
    elif way == "rank":
        monkeypatch.setenv("LOCAL_RANK", "1")
    elif way == "dumb":
        monkeypatch.setenv("TERM", "dumb")

    def work() -> None:
        with stage("secret"):
            time.sleep(0.06)

    if way == "caller":
        with quiet():
            work()
    elif way == "thread":
        # Another one's work is no part of what is shown here.
        with stage("mine"):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    else:
        work()
    assert "secret" not in terminal.getvalue()
    assert ("mine" in terminal.getvalue()) is (way == "thread")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system; run this test on Linux or macOS")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_says_nothing_and_prints_as_ever(opened: Callable[[], Terminal]) -> None:
    terminal = opened()
    with stage("parent"):
        assert _waited(terminal, "parent")
        display = stages._DISPLAYS[0]
        with display._lock:
            child = os.fork()
            if not child:
                # The lock is held by a thread that this process does not have.
                thread = threading.Thread(target=lambda: print("child", file=sys.stderr))
                thread.start()
                thread.join(5)
                with stage("of a worker") as own:
                    os._exit(thread.is_alive() or own._display is not None)
        assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook's front end was sent, by a stand-in of IPython."""
    sent: list[str] = []

    def update(content: dict[str, str], *, raw: bool) -> None:
        assert raw
        assert content["text/plain"] == ""
        sent.append(content["text/html"])

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert display_id
        update(content, raw=raw)
        return SimpleNamespace(update=update)

    module: Any = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(kernel=object())
    module.display = ModuleType("IPython.display")
    module.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    monkeypatch.setattr(rows, "MOMENT", 0.02)
    return sent


def test_a_notebook_has_bars_under_its_cell(cell: list[str]) -> None:
    def until(words: str) -> Iterator[None]:
        ends = time.monotonic() + 10
        while not any(words in text for text in cell) and time.monotonic() < ends:
            yield time.sleep(0.01)

    for i in steps(range(3), "layer <0>"):
        list(until(f'<progress value="{i}" max="3">'))
    assert any('<progress value="2" max="3"></progress> 66% layer &lt;0&gt;' in text for text in cell)
    assert cell[-1] == ""


def test_a_shell_without_a_kernel_is_no_notebook(cell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    with in_lines(io.StringIO()):
        assert isinstance(stages._surface(), LineSurface)
    assert cell == []


def _run_in_terminal(code: str, at: str = "", send: signal.Signals | None = None) -> tuple[int, str]:
    """Exit code and what the terminal got; a signal is sent once ``at`` was shown."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system; run this test on Linux or macOS")
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    # Where the tests were started in the background, Ctrl-C is ignored, which a process inherits.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{heard}import qtorch.progress as p, time; p.rows.MOMENT = 0.05\n{code}"],
        cwd=ROOT, stdout=side, stderr=side, env=environment,
    )  # fmt: skip
    os.close(side)
    text = ""
    if send is not None:
        while at not in text and (part := os.read(main, 4096)):
            text += part.decode()
        process.send_signal(send)
    text += everything(main)
    os.close(main)
    return process.wait(), text


def test_a_real_terminal() -> None:
    code = "for i in p.steps(range(8), 'inputs'): time.sleep(0.1)\nprint('page')"
    returned, text = _run_in_terminal(code)
    shares = [int(share) for share in re.findall(r"(\d+)%", text)]
    assert (returned, shares) == (0, sorted(shares))
    assert len(set(shares)) > 2
    assert text.endswith(f"\x1b[?25h\r\x1b[1A{_CLEARED}page\r\n")


def test_an_interrupted_terminal_has_its_cursor_back() -> None:
    returned, text = _run_in_terminal("with p.stage('endless', 3): time.sleep(60)", "endless", signal.SIGINT)
    assert returned == -signal.SIGINT
    # Before the traceback.
    assert text.index("\x1b[?25l") < text.rindex(f"\x1b[?25h\r\x1b[1A{_CLEARED}Traceback")


def test_rich_is_imported_when_a_bar_is_shown_and_not_before() -> None:
    code = (
        "import sys, io, qtorch.progress as p\n"
        "with p.stage('short'): pass\n"
        "p.rows.MOMENT = 0.0\n"
        "with p.in_lines(io.StringIO()), p.stage('said'): pass\n"
        "print([m for m in sys.modules if m.startswith('rich')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_has_no_length_has_no_end() -> None:
    streams: list[Any] = [iter([1]), (i for i in [1]), [1]]
    assert [next(steps(each, "reading")) for each in streams] == [1, 1, 1]
    seen: list[int | None] = []
    for each, total in ((iter([1]), None), ([1, 2], None), (iter([1, 2]), 2)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(stages, "stage", lambda words, total: (seen.append(total), Stage(words, total))[1])
            list(steps(each, "reading", total))
    assert seen == [None, 2, 2]
