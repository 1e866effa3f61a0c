"""What the commands say beside their results: help by section, notices once, words for what nobody takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl

from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.command_line.help_sections import SectionedParser
from tests.warm_python import warm_python

#: ``qtorch``, with classes of a module as anyone writes it.
QTORCH = "from export.command_line import main; raise SystemExit(main())"
RUN = """
model: {class_path: tests.plain_lightning.Plain}
data: {class_path: tests.plain_lightning.PlainData}
trainer: {max_epochs: 2, enable_progress_bar: false, enable_model_summary: false, accelerator: cpu}
qat: {start: 0.5}
"""


def said(words: list[str], folder: Path) -> tuple[int, str, str]:
    done = warm_python(words, folder)
    return done.returncode, done.stdout, done.stderr


def options(text: str) -> set[str]:
    return set(re.findall(r"^  (?:-\w(?: [A-Z]+)?, )?(--[\w.]+)", text, re.MULTILINE))


def test_help_shows_the_first_options_and_the_way_to_the_others(tmp_path: Path) -> None:
    code, short, _ = said(["-c", QTORCH, "fit", "--help"], tmp_path)
    assert code == 0
    assert len(short.splitlines()) < 200
    first = options(short)
    assert {"--config", "--trainer.max_epochs", "--qat.start", "--qat.activations"} <= first
    # Sections stand beside each other.
    assert re.search(r"^more, by section.*^  (?:.*  )?--help\.trainer \d+ options", short, re.MULTILINE | re.DOTALL)
    assert "--trainer.profiler" not in first
    assert "<class" not in short


def test_every_option_is_in_one_section(capsys: pytest.CaptureFixture[str]) -> None:
    parser = SectionedParser()
    parser.add_argument("--threads", type=int)
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.add_lightning_class_args(QuantizationAwareTraining, "qat")

    def shown(section: str) -> set[str]:
        with pytest.raises(SystemExit):
            parser.section_help(section, ["--help"])
        return options(capsys.readouterr().out)

    counted = dict(re.findall(r"--help\.(\w+) +(\d+) options", parser.format_help()))
    found = {section: shown(section) for section in counted}
    assert set(found) == {"trainer", "qat", "general"}
    assert {name: len(each) for name, each in found.items()} == {name: int(count) for name, count in counted.items()}
    assert set().union(*found.values()) == shown("all")
    assert sum(map(len, found.values())) == len(shown("all"))


def test_a_section_that_there_is_not_is_refused(tmp_path: Path) -> None:
    code, _, errors = said(["-m", "recipes.sine_qat", "--help.trainr"], tmp_path)
    assert code == 2
    assert re.search(r"sections data, export, general, .*got trainr", errors)


@pytest.mark.tflm
def test_the_libraries_say_nothing_of_themselves_twice(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN + "trainer.logger: false\n")
    code, _, errors = said(["-c", QTORCH, "fit", "--config", "run.yaml", "--trainer.logger", "false"], tmp_path)
    assert code == 0, errors
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    code, printed, more = said(["-m", "export", str(checkpoint), "--out", "out"], tmp_path)
    assert code == 0, more
    for text in (errors, printed, more):
        for word in ("GPU available", "TPU", "Tip", "litlogger", "litmodels", "many workers", "LeafSpec"):
            assert text.count(word) <= (word == "GPU available"), text
    assert "ranges calibrated" in errors


WITHOUT = """
from pytorch_lightning.trainer.connectors.logger_connector import logger_connector
from pytorch_lightning.loggers import tensorboard
from lightning_fabric.loggers import tensorboard as fabric
for module in (logger_connector, tensorboard, fabric):
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        if hasattr(module, name):
            setattr(module, name, False)
"""


def test_without_tensorboard_one_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN)
    code, _, errors = said(["-c", WITHOUT + QTORCH, "fit", "--config", "run.yaml"], tmp_path)
    assert code == 0, errors
    about = [line for line in errors.splitlines() if "ensor" in line and "oard" in line]
    assert len(about) == 1
    assert about[0].startswith("TensorBoard is not installed: losses go to CSV files below")
    assert list(tmp_path.rglob("metrics.csv"))
    named = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "logs"]
    code, _, errors = said(["-c", WITHOUT + QTORCH, "fit", "--config", "run.yaml", *named], tmp_path)
    assert code == 2
    assert errors.splitlines()[-1].startswith("error: trainer.logger: expected TensorBoard")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["recipes.sine_qat", "--data.seed", "99999999999999999999999"], r"--data\.seed: expected .* 64 bits"),
        (["recipes.sine_qat", "fit", "--data.seed", "-99999999999999999999999"], r"--data\.seed: expected .* 64 bits"),
        (["recipes.sine_qat", "--qat.observer", "fixed:0:1e39"], r"fixed.* finite in float32"),
        (["recipes.sine_qat", "--qat.observer", "fixed:-3e38:3e38"], r"fixed.* finite in float32"),
        (["recipes.sine_qat", "--model.hidden", "[-3]"], r"model\.hidden\[\d\]: expected at least 1"),
        (["recipes.fuel_qat", "--model.hidden", "[4, 0]"], r"model\.hidden\[\d\]: expected at least 1"),
        (["export", "supprt"], r"got 'supprt'\. Remedy: python -m export support"),
        (["export", "sumary", "x.tflite"], r"got 'sumary'\. Remedy: python -m export summary"),
        (["export", "no.ckpt", "--out", ""], r"--out: expected the name of a folder, got nothing"),
    ],
    ids=str,
)
def test_what_nobody_takes_ends_in_words(given: list[str], words: str, tmp_path: Path) -> None:
    quick = ["--trainer.max_epochs", "2"] if given[0].startswith("recipes") else []
    code, _, errors = said(["-m", *given, *quick], tmp_path)
    assert code == 2
    assert re.search(words, errors), errors
    assert "Traceback" not in errors


def test_a_run_that_goes_on_says_which_options_are_others(tmp_path: Path) -> None:
    command = ["-m", "recipes.sine_qat", "fit", "--resume", "kept", "--data.samples", "100"]
    code, _, errors = said([*command, "--trainer.max_epochs", "2"], tmp_path)
    assert code == 0, errors
    assert "going on from" not in errors
    others = ["--trainer.max_epochs", "3", "--qat.freeze_batch_norm", "0.9", "--data.batch_size", "50", "--qat.start=0"]
    code, _, errors = said([*command, *others], tmp_path)
    assert code == 0, errors
    lines = [line.partition("resume.ckpt: ")[2] for line in errors.splitlines() if line.startswith("going on from")]
    assert sorted(lines) == [
        "data.batch_size was 32 and is 50 now",
        "qat.freeze_batch_norm was 0.8 and is 0.9 now",
        "qat.start was 0.6 and is 0 now, which comes too late: quantized training began in epoch 1",
        "trainer.max_epochs was 2 and is 3 now",
    ]
