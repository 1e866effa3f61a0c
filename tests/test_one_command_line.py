"""One command line: every command from one table, help that fits a screen, and mistakes that name what was meant."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import pytest
from torch import fx

from export.boards import BOARDS
from export.command_line import main
from export.command_line.declared import options_of
from export.command_line.help_page import attributes
from export.command_line.reader import FOLDER, POSITIONAL, POSITIVE, read_options
from export.command_line.table import COMMANDS
from export.commands.quantize import QuantizeExportOptions
from export.graph.build import integer_graph
from export.options import ExportOptions
from export.pipeline.recipes import recipes
from export.tflite.writer import write_tflite
from qtorch.config import QuantizationConfig
from qtorch.lightning.command_line.option_errors import nearest

#: Handed in here, while the test run has arguments of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")

ROOT = Path(__file__).parents[1]
TRAINING = ("fit", "validate", "test", "predict")
RUN = """
model: {class_path: recipes.sine_qat.model.Sine}
data: {class_path: recipes.sine_qat.data.SineData, init_args: {samples: 100}}
trainer: {max_epochs: 2, accelerator: cpu, logger: false, enable_progress_bar: false, enable_model_summary: false}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "m.tflite").touch()


def said(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, whichever way the command ends."""
    try:
        code: object = main(words.split())
    except SystemExit as left:
        code = left.code
    printed = capsys.readouterr()
    assert isinstance(code, int)
    return code, printed.out, printed.err


def refusal(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a mistake ends in."""
    code, out, errors = said(words, capsys)
    assert (code, out) == (2, ""), errors
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_fits_a_screen_and_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, page, _ = said(f"{name} --help", capsys)
    assert code == 0
    lines = page.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120 if name == "recipe" else max(map(len, lines)) <= 100
    assert f"qtorch {name} " in page.replace("\n", " ").partition("example")[2] or name == "recipe"


@pytest.mark.parametrize("words", ["fit --help", *(f"recipe {name} --help" for name in recipes())])
def test_a_run_s_first_options_fit_a_screen(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(words, capsys)[1].splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_fields_that_come_first_do_so_on_every_page(capsys: pytest.CaptureFixture[str]) -> None:
    for words, choices in (
        ("quantize --help", QuantizeExportOptions), ("fit --help", ExportOptions), ("recipe sine --help", ExportOptions)
    ):  # fmt: skip
        page = said(words, capsys)[1]
        for group, kind in (("qat", QuantizationConfig), ("export", choices)):
            first = {each.name for each in fields(kind) if each.metadata.get("first")}
            assert 4 < len(first) < len(fields(kind))
            shown = set(re.findall(rf"^  --{group}\.(\w+)", page, re.MULTILINE))
            assert shown - {"start"} == first
            more = f"{len(fields(kind)) - len(first)} more --{group} options"
            assert (more in page) == words.startswith("quantize")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("", "--help", "-h"):
        code, page, _ = said(words, capsys)
        assert (code, re.findall(r"^  (\w+) ", page, re.MULTILINE)) == (0, list(COMMANDS))


def test_a_section_says_more(capsys: pytest.CaptureFixture[str]) -> None:
    _, short, _ = said("export --help", capsys)
    _, whole, _ = said("export --help.export", capsys)
    assert "nhwc stores the channels last" in whole
    assert "nhwc stores the channels last" not in short
    assert "write" not in refusal("export --help.exprt", capsys)


@pytest.mark.parametrize(
    "words", ["export --help.export", "fit --help.export", "recipe sine --help.export", "quantize --help.export"]
)
def test_the_boards_are_listed(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = " ".join(said(words, capsys)[1].split())
    assert all(board in page for board in BOARDS)


def test_what_help_says_of_an_export_is_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    texts = attributes(ExportOptions)
    assert list(texts) == [each.name for each in options_of(ExportOptions)]
    for words in ("export --help.export", "fit --help.export", "recipe sine --help.export"):
        page = " ".join(said(words, capsys)[1].replace("``", "").split())
        for name, text in texts.items():
            if ":" not in (ExportOptions.__doc__ or "").partition(f"{name}: ")[2].partition("\n")[0]:
                assert " ".join(text.rstrip(".").split()[:6]) in page, (words, name)


#: A wrong option for each command, and the option that was meant.
WRONG_OPTION = {
    **dict.fromkeys(TRAINING, ("--trainer.max_epchs=3", "--trainer.max_epochs")),
    "export": ("--export.taget", "--export.target"),
    "quantize": ("--qat.weigths=per_tensor", "--qat.weights"),
    "compile": ("--tagret", "--target"),
    "verify": ("--agianst", "--against"),
    "profile": ("--bord", "--board"),
    "summary": ("--jsn", "--json"),
    "lint": ("--tagret", "--target"),
    "compare": ("--onyl", "--only"),
    "sensitivity": ("--bit", "--bits"),
    "support": ("--jsn", "--help"),
    "recipe": ("fule", "recipe fuel"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_names_the_nearest(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, right = WRONG_OPTION[name]
    config = "--config run.yaml" if name in TRAINING else ""
    line = refusal(f"{name} {config} {wrong}", capsys)
    assert wrong.partition("=")[0] in line
    assert right in line


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_of_another_command_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = "--against=x.ckpt" if name != "verify" else "--only=x"
    recipe = "sine" if name == "recipe" else ""
    config = "--config run.yaml" if name in TRAINING else ""
    assert f"{other.partition('=')[0]}: expected an option" in refusal(f"{name} {recipe} {config} {other}", capsys)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "support"])
def test_a_missing_value_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = {
        "export": "a.ckpt --out", "compile": "m.tflite --out", "verify": "--against", "profile": "--board",
        "compare": "--only",
        "sensitivity": "--bits", "summary": "", "lint": "m.tflite --target",
        "recipe": "sine --out", "quantize": "a.pt --data x.npy --out",
    }.get(name, "--config run.yaml --trainer.max_epochs")  # fmt: skip
    line = refusal(f"{name} {option}", capsys)
    assert f"{option.split()[-1] if option else 'MODEL'}: expected " in line
    assert "got nothing. Remedy: " in line


@pytest.mark.parametrize(
    "command",
    ["export a.ckpt --out o", "fit --config run.yaml --out o", "recipe sine", "quantize a.pt --data x.npy --out o"],
)
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("--export.target nano33", "nano33ble"),
        ("--export.format int9", "int8"),
        ("--export.optimize fast", "one of balanced, size, speed"),
        ("--export.taget uno", "--export.target"),
        ("--export.forma int8", "--export.format"),
        ("--export.c=perhaps", "'perhaps'"),
    ],
)
def test_a_wrong_choice_names_the_nearest(
    command: str, wrong: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(f"{command} {wrong}", capsys)
    assert meant in line
    assert wrong.partition(" ")[0].partition("=")[0].lstrip("-") in line


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("qat: {weigths: per_tensor}", "qat.weights"),
        ("trainer: {max_epoch: 3}", "trainer.max_epochs"),
        ("model: {class_path: recipes.sine_qat.model.Sine, init_args: {lerning_rate: 1}}", "learning_rate"),
        ("trainer: {max_epochs: three}", "--trainer.max_epochs: expected a whole number or null, got 'three'"),
        ("qat: {weights: per_tensr}", "Remedy: write --qat.weights per_tensor."),
    ],
)
def test_a_wrong_key_of_a_file_names_the_nearest(text: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.yaml").write_text(text)
    assert meant in refusal("fit --config run.yaml --config wrong.yaml", capsys)
    if "class_path" not in text:
        assert meant in refusal("recipe sine --config wrong.yaml", capsys)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("fit --config run.yaml --trainer.max_epoch 3", "--trainer.max_epochs"),
        ("recipe sine --trainer.max_epoch=3", "--trainer.max_epochs"),
        ("recipe sine --ou x", "--out"),
        ("export a.ckpt --ou x", "--out"),
        ("profile x.tflite --mach cortex_m4", "--machine"),
    ],
)
def test_nothing_is_abbreviated(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"Remedy: write {meant}." in refusal(words, capsys)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("veryfy x.tflite", "qtorch verify"),
        ("recipe fule", "qtorch recipe fuel"),
        ("recipe sine fti", "Remedy: write fit."),
        ("quux", "qtorch --help"),
        ("run.yaml", "qtorch export run.yaml --out DIR"),
        ("m.tflite", "qtorch compile m.tflite --out DIR"),
        ("fit --config run.yaml extra", "'extra'"),
        ("summary a b", "'b'"),
        ("fit", "--model"),
        ("fit --config absent.yaml", "absent.yaml', which is not there. Remedy: check the path"),
        ("profile x.tflite --board unoo", "Remedy: --board uno"),
    ],
)
def test_a_wrong_word_names_the_nearest(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert meant in refusal(words, capsys)


@dataclass(frozen=True)
class Inner:
    """Of a group.

    Attributes:
        on: whether.
        way: which; one of two.
    """

    on: bool = False
    way: Literal["fast", "slow"] = "slow"


@dataclass(frozen=True)
class Outer:
    """Of a command.

    Attributes:
        model: a file.
        out: a folder.
        names: some.
        times: how often.
        a_long_name: a number.
        group: more.
    """

    model: Annotated[Path, POSITIONAL]
    out: Annotated[Path, FOLDER] = Path("o")
    names: tuple[str, ...] = ()
    times: Annotated[int, POSITIVE] = 1
    a_long_name: float | None = None
    group: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("m", Outer(Path("m"))),
        ("m --group.on", Outer(Path("m"), group=Inner(True))),
        ("--group.on m", Outer(Path("m"), group=Inner(True))),
        ("m --group.on true --group.way fast", Outer(Path("m"), group=Inner(True, "fast"))),
        ("m --group.on=false --out=x=y", Outer(Path("m"), Path("x=y"))),
        ("m --a-long-name -2.5", Outer(Path("m"), a_long_name=-2.5)),
        ("m --a_long_name=1e3 --times 7", Outer(Path("m"), times=7, a_long_name=1000.0)),
        ("m --names a b --times 2", Outer(Path("m"), names=("a", "b"), times=2)),
        ("m --names a --names b", Outer(Path("m"), names=("a", "b"))),
        ("--names a b m", Outer(Path("m"), names=("a", "b"))),
        ("--names a m", Outer(Path("m"), names=("a",))),
    ],
)
def test_the_grammar(words: str, expected: Outer) -> None:
    assert read_options(Outer, words.split(), "outer") == expected


def test_a_name_cut_short_is_like_the_whole() -> None:
    assert nearest("--mach", ["--machine", "--board"]) == "--machine"
    assert nearest("--x", ["--machine", "--board"]) == ""


def test_how_to_export_needs_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--out beside it" in refusal("fit --config run.yaml --export.c", capsys)
    assert "--out beside it" in refusal("fit --config run.yaml --name x", capsys)


@pytest.mark.tflm
def test_a_fit_exports_what_its_checkpoint_exports(capsys: pytest.CaptureFixture[str]) -> None:
    code, page, errors = said("fit --config run.yaml --out a --name s --export.c", capsys)
    assert code == 0, errors
    assert "written to a/: s.tflite" in page
    assert said("export a/s.ckpt --out b --name s --export.c", capsys)[0] == 0
    same = [each.name for each in Path("b").iterdir() if each.name not in ("s_manifest.json", "timings.json")]
    assert {"s.tflite", "s_model.c", "metrics.json"} <= set(same)
    assert [name for name in same if Path("a", name).read_bytes() != Path("b", name).read_bytes()] == []
    code, page, _ = said("fit --config run.yaml --trainer.default_root_dir c", capsys)
    assert (code, "written to" in page) == (0, False)


LIGHT = """
import sys
from export.command_line import main
code = main(sys.argv[1:])
heavy = ["torch", "pytorch_lightning", "jsonargparse", "rich", "ai_edge_litert", "onnx", "tensorflow"]
print([name for name in heavy if name in sys.modules])
sys.exit(code)
"""


USES = {"support": ["torch"], "verify x": ["torch", "ai_edge_litert"], "summary m": ["torch", "rich", "ai_edge_litert"]}


@pytest.mark.parametrize("words", ["--help", "veryfy", *USES])
def test_what_a_command_does_not_need_is_not_imported(words: str, network: fx.GraphModule) -> None:
    Path("m").write_bytes(write_tflite(integer_graph(network)))
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *words.split()],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout.splitlines()[-1] == str(USES.get(words, [])), done.stderr
