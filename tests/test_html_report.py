"""report.html: well-formed, complete, escaped, deterministic, drawn where the numbers are, readable in a browser."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import recipes
from export.__main__ import main as export_main
from export.boards import BOARDS
from export.cost.board_cost import board_cost
from export.figures.sensitivity import layer_costs
from export.figures.tensor_error import TensorError
from export.graph.build import integer_graph
from export.html.facts import Column, Facts, Predictions, facts_of
from export.html.markup import Markup, element, shown
from export.html.page import page
from export.html.prediction_sections import errors_of
from export.html.summary_sections import compared, moved
from export.lightning_run.network_inputs import network_inputs
from export.lightning_run.subject import subject_of
from export.pipeline import main
from firmware.emulation import MACHINES, available
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.classification import Classification
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.reconstruction import Reconstruction
from qtorch.lightning.regression import Regression
from qtorch.lightning.task import Task
from recipes.fuel_qat.data import FuelData
from tests.conftest import run_fuel
from tests.small_task import SmallData, SmallModule, small_trainer
from tests.test_recipes import SMALL, only

HOSTILE = "<script>alert('x')</script> & \"quoted\" \x00"


class Balance(HTMLParser):
    """Collects the tags that are open and the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> ElementTree.Element:
    """The page, checked by both parsers, and for anything that would be fetched or run."""
    balance = Balance()
    balance.feed(text)
    balance.close()
    assert not balance.open
    assert "script" not in balance.seen
    assert not re.search(r"https?:|@import|url\(", text)
    root = ElementTree.fromstring(text)
    ids = [found.get("id") for found in root.iter() if found.get("id")]
    assert len(ids) == len(set(ids))
    assert {link.get("href") for link in root.iter("a")} <= {f"#{found}" for found in ids}
    for drawing in root.iter("svg"):
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label")
    for number in re.findall(r'\bd="([^"]*)"', text):
        assert not re.search("nan|inf", number)
    return root


def texts(root: ElementTree.Element, tag: str) -> list[str]:
    return ["".join(found.itertext()) for found in root.iter(tag)]


def small_facts(name: str = "model", title: str = "size") -> Facts:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 1)), rng.random((40, 1))
    engine = {"version": "1", "inputs": 40, "outputs": 40, "mismatches": 1, "max_lsb": 1}
    parity = {
        "qparams": {"tensors": 3, "mismatches": 0}, "constants": {"values": 5, "mismatches": 0},
        "engines": {name: engine}, "not_run": {}, "judges": [name], "exhaustive": False,
    }  # fmt: skip
    data = {"source": name, "rows": 40, "dropped": 7, "train": 30, "test": 10}
    figures = {"float": {"mse": 0.125}, "qat_int8": {"mse": 0.5}}
    metrics = {"test": figures, "columns": ["mse"], "tflite_bytes": 1000, "data": data}
    return Facts(
        name, "regression", metrics, parity, losses={"training": {0: 2.0, 1: 1.0}}, began=1, outputs=(title,),
        predictions={"test": Predictions(x, y, y + 0.1, y + 0.2)},
        columns=(Column(title, "L", x[:, 0]), Column("target", "", y[:, 0])),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fuel_page(fuel_out: Path) -> str:
    return (fuel_out / "report.html").read_text()


@pytest.mark.tflm
def test_the_page_has_the_figures_of_the_other_files(fuel_out: Path, fuel_page: str) -> None:
    root = parsed(fuel_page)
    cells = set(texts(root, "td"))
    metrics, parity = (json.loads((fuel_out / f"{name}.json").read_text()) for name in ("metrics", "parity"))
    for stage, figures in metrics["test"].items():
        assert {shown(value) for value in figures.values()} <= cells, stage
    assert {found["version"] for found in parity["engines"].values()} <= cells
    assert "had to agree, and did" in cells
    rows = (fuel_out / "quantization_report.csv").read_text().splitlines()[1:]
    names = {row.split(",")[9] for row in rows}
    assert len(names) == 13
    assert names <= set(texts(root, "th"))
    assert set(texts(root, "h2")) >= {"Training", "Predictions", "Errors", "The graph", "Working memory", "Data"}
    assert len(fuel_page) < 1_000_000


@pytest.mark.tflm
def test_losses_survive_in_the_checkpoint(fuel_out: Path, fuel_page: str, tmp_path: Path) -> None:
    losses = load_run(fuel_out / "fuel.ckpt").qat.losses
    assert list(losses["training"]) == list(losses["validation"]) == list(range(6))
    root = parsed(fuel_page)
    for part in ("training", "validation"):
        assert losses[part][5] < losses[part][0]
        assert shown(losses[part][5]) in texts(root, "td")
    (caption,) = [text for text in texts(root, "figcaption") if "mean loss by epoch" in text]
    assert "it is the training part in evaluation mode" in caption
    assert run_fuel("--out", tmp_path / "o", "--trainer.limit_val_batches", "0") == 0
    assert load_run(tmp_path / "o" / "fuel.ckpt").qat.losses == {"training": losses["training"], "validation": {}}
    assert "no validation ran" in (tmp_path / "o" / "report.html").read_text()
    # To look at the validation part must change nothing.
    assert (tmp_path / "o" / "fuel.tflite").read_bytes() == (fuel_out / "fuel.tflite").read_bytes()


@pytest.mark.tflm
@pytest.mark.parametrize(
    ("given", "epochs"),
    [
        ([], [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21]),
        (["--trainer.check_val_every_n_epoch", "1"], list(range(22))),
        (["--trainer.check_val_every_n_epoch", "7"], [6, 13, 20]),
    ],
)
def test_a_recipe_validates_now_and_then(given: list[str], epochs: list[int], tmp_path: Path) -> None:
    assert run_fuel("--out", tmp_path / "o", "--trainer.max_epochs", "22", "--data.rows", "40", *given) == 0
    assert list(load_run(tmp_path / "o" / "fuel.ckpt").qat.losses["validation"]) == epochs


def test_validation_takes_large_batches() -> None:
    data = FuelData(batch_size=32, rows=2000)
    assert [len(batch[0]) for batch in data.val_dataloader()] == [512, 512, 376]
    assert len(next(iter(data.train_dataloader()))[0]) == 32
    assert len(next(iter(FuelData(batch_size=1000, rows=2000).val_dataloader()))[0]) == 1000


@pytest.mark.tflm
def test_the_top_says_what_it_costs_and_which_layer_hurts(fuel_out: Path, fuel_page: str) -> None:
    root = parsed(fuel_page)
    metrics = json.loads((fuel_out / "metrics.json").read_text())
    run = load_run(fuel_out / "fuel.ckpt")
    said = dict(zip(texts(root, "dt"), zip(*[iter(texts(root, "dd"))] * 2, strict=True), strict=True))
    assert said["tensor arena"][0] == f"{metrics['arena_bytes']:,} bytes"
    assert f"FUEL_ARENA_BYTES {metrics['arena_bytes']}" in (fuel_out / "fuel_arena.h").read_text()
    assert said["model"][0] == f"{(fuel_out / 'fuel.tflite').stat().st_size:,} bytes"
    assert said["one inference"][0] == f"{3 * 32 + 32 * 16 + 16 * 8 + 8} MAC"
    figures = metrics["test"]
    # A float network whose training went on quantized is called what it is.
    called = "half-trained float network, after 4 of 6 epochs"
    judged = compared(figures["float"]["mse"], figures["qat_int8"]["mse"], "lower", called)[0]
    assert called in judged
    assert said["mse on the test set, int8, QAT (TFLM)"] == (
        shown(figures["qat_int8"]["mse"]),
        f"{judged} ({shown(figures['float']['mse'])}); post-training int8: {shown(figures['ptq_int8']['mse'])}",
    )
    costs = layer_costs(run.module.net, network_inputs(run)["test"])
    assert [cost.noise for cost in costs[1:-1]] == sorted((cost.noise for cost in costs[1:-1]), reverse=True)
    value, about = said["layer that costs most"]
    assert value == f"{100 * costs[1].noise ** 0.5:.2g} %"
    assert about.startswith(f"{costs[1].name} (FULLY_CONNECTED)")
    section = next(each for each in root.iter("section") if each.get("aria-labelledby") == "layers")
    rows = [[*row.itertext()] for row in section.iter("tr")][1:]
    assert [(row[0], row[2]) for row in rows] == [(cost.name, moved(cost)) for cost in costs[1:-1]]


@pytest.mark.tflm
def test_a_board_says_what_was_counted(fuel_out: Path, tmp_path: Path) -> None:
    missing = available(MACHINES["atmega328p"])
    if missing:
        pytest.skip(missing)
    arguments = ["--out", str(tmp_path / "o"), "--export.c", "--export.target", "uno"]
    assert export_main([str(fuel_out / "fuel.ckpt"), *arguments]) == 0
    found = json.loads((tmp_path / "o" / "metrics.json").read_text())["c"]["inference"]
    assert found["unit"] == "cycles"
    # The hardware multiplies in two cycles and the sums are of 744 products; the clock is 16 MHz.
    assert 2 * 744 < found["median"] < 100 * 744
    assert found["milliseconds"] == pytest.approx(found["median"] / 16_000)
    texts_ = texts(parsed((tmp_path / "o" / "report.html").read_text()), "dd")
    assert f"{round(found['median']):,} cycles" in texts_
    assert any(text.startswith("uno, plain C: ") for text in texts_)


def test_a_board_that_nothing_counts_for_says_so(network) -> None:
    found = board_cost(integer_graph(network), BOARDS["esp32"])
    assert found == {"board": "esp32", "absent": "no emulated machine has its processor, xtensa"}
    assert board_cost(integer_graph(network), BOARDS["host"]) == {}
    facts = small_facts()
    c = {"constant_bytes": 10, "scratch_bytes": 20, "inference": found}
    root = parsed(page(replace(facts, metrics={**facts.metrics, "c": c})))
    assert "esp32: no emulated machine has its processor, xtensa" in texts(root, "dd")


def test_figures_are_judged_by_what_is_better() -> None:
    assert compared(0.5, 0.51, "lower") == ("2 % worse than the float network", False)
    assert compared(0.5, 0.51, "higher") == ("2 % better than the float network", True)
    assert compared(0.5, 0.49, "lower") == ("2 % better than the float network", True)
    assert compared(0.5, 0.51, None) == ("2 % more than the float network", False)
    assert compared(0.0, 1.0, "lower") == ("worse than the float network", False)
    assert compared(0.5, 0.5, None) == ("the float network's", True)
    for task in (Regression, Classification, Reconstruction):
        assert set(task.columns) <= set(task.better)


def test_what_others_agree_on_is_never_rounded_up() -> None:
    facts = small_facts()
    engine = {**facts.parity["engines"]["model"], "outputs": 1_000_000}
    other = {**engine, "inputs": 1_000_000}
    root = parsed(page(replace(facts, parity={**facts.parity, "engines": {"model": engine, "other": other}})))
    assert "judged by model; others equal on at least 99.99% of outputs" in texts(root, "dd")
    assert "100.00%" not in texts(root, "td")
    failed = {"other": {"version": "1", "error": "no such op"}}
    root = parsed(page(replace(facts, parity={**facts.parity, "engines": {"model": engine}, "not_run": failed})))
    assert "could not run: no such op" in texts(root, "td")
    assert "100.00%" not in texts(root, "td")
    assert "judged by model" in texts(root, "dd")


def test_advice_is_a_click_away(network) -> None:
    error = TensorError("op", 0, 1, 0.1, 0.0, 0.1, 0.01, 0.1, 0, "t", 25.5, 0.9, 12.0, 0.0, "saturated", "do so")
    root = parsed(page(replace(small_facts(), errors=(error,), graph=integer_graph(network))))
    (tile,) = [each for each in root.iter("div") if "worst: t, saturated, 12 dB; advice" in "".join(each.itertext())
               and each.get("class") == "tile"]  # fmt: skip
    (link,) = tile.iter("a")
    assert link.get("href") == "#advice"
    (heading,) = [each for each in root.iter("h3") if each.get("id") == "advice"]
    assert heading.text == "Advice"


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_module_of_no_known_task_has_a_page(tmp_path: Path) -> None:
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=4)
    trainer.fit(SmallModule(), datamodule=SmallData())
    trainer.save_checkpoint(tmp_path / "small.ckpt", weights_only=False)
    assert export_main([str(tmp_path / "small.ckpt"), "--out", str(tmp_path / "o")]) == 0
    root = parsed((tmp_path / "o" / "report.html").read_text())
    assert {"Predictions", "What each layer costs", "What each tensor loses"} <= set(texts(root, "h2"))
    # Its test step hands over targets, so that predictions stand over them.
    assert any("predicted over" in text for text in texts(root, "figcaption"))
    tensors = next(t for t in root.iter("table") if "rmse/scale" in "".join(t.itertext()))
    rows = list(tensors.iter("tr"))[1:]
    assert len(rows) == 7
    assert all(list(row.iter("svg")) for row in rows), "every tensor has its distribution"


@pytest.mark.tflm
def test_predictions_are_those_of_the_table(fuel_out: Path) -> None:
    run = load_run(fuel_out / "fuel.ckpt")
    metrics, parity = (json.loads((fuel_out / f"{name}.json").read_text()) for name in ("metrics", "parity"))
    graph, tested = integer_graph(run.module.net), network_inputs(run)["test"]
    facts = facts_of(subject_of(run), "fuel", metrics, parity, graph, run.module.net, tested)
    found = facts.predictions["test"]
    for stage, output in (("float", found.float_output), ("qat_int8", found.int8_output)):
        error = errors_of("regression", found, output)[1]
        assert (error**2).mean() == pytest.approx(metrics["test"][stage]["mse"], rel=1e-6), stage
    assert metrics["test"]["float"]["mse"] != pytest.approx(metrics["test"]["qat_int8"]["mse"], rel=1e-4)
    size = facts.columns[0]
    assert size.title == "engine size (L)"
    assert len(size.values) == 638
    # Printed with one digit, and clipped to 1.0 and 8.0 litres.
    assert size.values == pytest.approx(size.values.round(1), abs=1e-6)
    assert size.values.min() >= 1 - 1e-6


@pytest.mark.tflm
def test_a_float_format_has_a_page_too(fuel_out: Path, tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path / "o"), "--export.format", "float32"]
    assert export_main([str(fuel_out / "fuel.ckpt"), *arguments]) == 0
    root = parsed((tmp_path / "o" / "report.html").read_text())
    assert "litert_reference" in texts(root, "th")
    test = json.loads((tmp_path / "o" / "metrics.json").read_text())["test"]
    assert shown(test["float32"]["mse"]) in texts(root, "td")


@pytest.mark.tflm
@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("sine_qat", "predicted minus actual"),
        ("gesture_qat", "margin of the true class"),
        ("anomaly_qat", "mean squared error of a sample"),
    ],
)
def test_every_kind_of_task_has_a_page(package: str, expected: str, tmp_path: Path) -> None:
    data, task = (only(package, name, base) for name, base in (("data", ArrayDataModule), ("model", Task)))
    accepted = inspect.signature(data).parameters
    small = [part for name, n in SMALL.items() if name in accepted for part in (f"--data.{name}", str(n))]
    quiet = ["--trainer.max_epochs", "3", "--trainer.enable_progress_bar", "false"]
    config = Path(next(iter(recipes.__path__))) / package / "config.yaml"
    assert main(task, data, config, [*quiet, *small, "--out", str(tmp_path / "out")]) == 0
    root = parsed((tmp_path / "out" / "report.html").read_text())
    assert expected in texts(root, "caption")
    if package == "gesture_qat":
        assert sum("confusion matrix" in caption for caption in texts(root, "caption")) == 2
        figures = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["qat_int8"]
        matrix = next(t for t in root.iter("table") if "quantized, on the device: true" in "".join(t.itertext()))
        assert {"punch", "flex"} <= set(texts(matrix, "th"))
        wrong = [b for b in matrix.iter("b") if (b.get("class") or "").startswith("wrong")]
        assert sum(int(b.text or 0) for b in wrong) == figures["errors"]
    if package == "anomaly_qat":
        assert 'class="step anomaly"' in (tmp_path / "out" / "report.html").read_text()


def test_every_shipped_task_is_of_a_known_kind() -> None:
    for package in sorted(p.parent.name for p in Path(next(iter(recipes.__path__))).glob("*/model.py")):
        if (Path(next(iter(recipes.__path__))) / package / "config.yaml").exists():
            assert import_module(f"recipes.{package}.model")
            assert issubclass(only(package, "model", Task), Regression | Classification | Reconstruction)


def test_the_same_facts_give_the_same_page() -> None:
    assert page(small_facts()) == page(small_facts())


def test_a_judge_may_say_how_it_was_run() -> None:
    facts = small_facts()
    root = parsed(page(replace(facts, parity={**facts.parity, "judges": ["model, single rounding"]})))
    assert "had to agree, and did, single rounding" in texts(root, "td")
    assert "40 inputs" in texts(root, "dd")


def test_hostile_names_are_text() -> None:
    error = TensorError(
        HOSTILE, 0, 1, 0.1, 0.0, 0.1, 0.01, 0.1, 0, HOSTILE, 25.5, 0.9, 12.0, 0.0, "saturated", HOSTILE
    )  # fmt: skip
    hostile = small_facts(HOSTILE, HOSTILE)
    root = parsed(page(replace(hostile, errors=(error,))))
    readable = HOSTILE.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert any(readable in text for text in texts(root, "th"))
    assert any(readable in text for text in texts(root, "h1"))


def test_only_markup_is_markup() -> None:
    assert element("p", "<b>", Markup("<b>x</b>"), title='"') == '<p title="&quot;">&lt;b&gt;<b>x</b></p>'
    assert element("svg", viewBox="0 0 1 1", stroke_width=1.5) == '<svg viewBox="0 0 1 1" stroke-width="1.5"></svg>'
    assert element("line", x1=100, x2=10.0) == '<line x1="100" x2="10"/>'
