"""Every option of every command, given what it can't take: one line with where, expected, got and a remedy; code 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_origin

import pytest

from export.command_line.declared import Option, options_of
from export.command_line.reader import read_options
from export.commands.compare import CompareOptions
from export.commands.compile import CompileOptions
from export.commands.export import ExportCommandOptions
from export.commands.lint import LintOptions
from export.commands.profile import ProfileOptions
from export.commands.quantize import QuantizeOptions
from export.commands.sensitivity import SensitivityOptions
from export.commands.summary import SummaryOptions
from export.commands.verify import VerifyOptions
from qtorch.errors import BadConfiguration
from qtorch.lightning.command_line.option_errors import in_a_line

COMMANDS: tuple[type, ...] = (
    CompareOptions, CompileOptions, ExportCommandOptions, LintOptions, ProfileOptions, QuantizeOptions,
    SensitivityOptions, SummaryOptions, VerifyOptions,
)  # fmt: skip
WORDS = re.compile(r"error: (\S.*): expected \S.*, got \S.*\. Remedy: \S.*\.\n")
KINDS = [pytest.param(kind, id=kind.__name__) for kind in COMMANDS]


def _refused(kind: type, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        read_options(kind, words, "command")
    assert left.value.code == 2, words
    said = capsys.readouterr()
    assert said.out == ""
    assert WORDS.fullmatch(said.err), said.err
    return said.err


def _wrong(option: Option) -> Iterator[str]:
    """Values that this option can't take, of options that do not take any."""
    if option.kind is bool or option.choices:
        yield "perhaps"
    if option.kind in (int, float):
        yield from ("many", "nan", "")
    if get_origin(option.kind) not in (None, tuple):
        yield from ("[1", "perhaps")
    if option.kind is Path:
        yield ""


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_values(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["some.file"] * sum(each.positional for each in options_of(kind))
    for option in options_of(kind):
        if option.positional:
            continue
        for value in _wrong(option):
            said = _refused(kind, [*places, f"{option.written}={value}"], capsys)
            assert said.startswith(f"error: {option.written}: ")
        if option.kind is not bool:
            assert "got nothing" in _refused(kind, [*places, option.written], capsys)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_names_and_what_is_not_there(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["some.file"] * sum(each.positional for each in options_of(kind))
    longest = max((each for each in options_of(kind) if not each.positional), key=lambda each: len(each.written))
    assert f"Remedy: write {longest.written}." in _refused(kind, [*places, longest.written[:-1] + "0", "1"], capsys)
    assert "got nothing" in _refused(kind, [], capsys)
    assert "'other'" in _refused(kind, [*places, "other"], capsys)


READER = (
    ('Parser key "model":\n  Errors:\n    - Problem with given class_path \'a.Net\':\n        Parser key "width":\n'
     "          Expected a <class 'int'>. Got value: x\n", "--model.width: expected a whole number, got 'x'."),
    ("Problems parsing config: mapping values are not allowed\n  in \"<unicode string>\", line 5, column 12",
     "--config: expected a file of YAML, got mapping values are not allowed, in line 5, column 12."),
    ("Subcommand 'fit' does not accept option 'modle.class_path'", "Remedy: write model.class_path."),
    ('Parser key "model":\n  - Import path does not correspond to a subclass of Module\n  Given value: a.Data\n',
     "--model: expected a class that is a Module, got a.Data."),
    ('Parser key "trainer.callbacks":\n  Subtypes: [list[a.b.Callback], <class \'a.b.Callback\'>, '
     "<class 'NoneType'>]\n  Given value: x\n",
     "--trainer.callbacks: expected a list of Callback or Callback or null, got 'x'."),
    ('Parser key "model":\n    - Problem with given class_path \'a.Net\':\n        No module named \'pandas\'\n',
     "Remedy: install pandas, which that module imports."),
    ('Parser key "model":\n    - Problem with given class_path \'a.b.Net\':\n        No module named \'a.b\'\n',
     "Remedy: name one by its module, "),
    ("something that nobody has thought of.", "something that nobody has thought of. Remedy: "),
)  # fmt: skip


@pytest.mark.parametrize(("message", "words"), READER)
def test_what_the_reader_of_files_says(message: str, words: str) -> None:
    said = in_a_line(message, ["--model", "--trainer.callbacks", "--config"])
    assert words in said
    assert "Remedy: " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["--qat.margin", "3"], "--qat.margin"),
        (["--qat.observer", "p99"], "--qat.observer"),
        (["--qat.layers", '{"0": {"skip": "perhaps"}}'], "layers['0']: skip"),
    ],
)
def test_what_a_section_says_of_its_field_names_the_option(words: list[str], where: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        read_options(QuantizeOptions, ["net.pt", "--data", "x.npy", "--out", "o", *words], "quantize")
    assert refused.value.where == where
