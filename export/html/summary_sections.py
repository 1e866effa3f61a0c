"""What a reader sees first: headline figures, the stages side by side, who agrees, how training went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from export.figures.left_out import in_sentences
from export.figures.sensitivity import LayerCost
from export.figures.stage_names import QUANTIZED_WEIGHTS, stage_name
from export.figures.tensor_error import TensorError
from export.html.charts import bar, bars, figure, lines
from export.html.cost_section import inference
from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table
from export.parity.outputs import shown_share

__all__ = [
    "compared",
    "layer_section",
    "moved",
    "parity_section",
    "stage_section",
    "tiles",
    "training_section",
    "weakest",
]


def tiles(facts: Facts) -> Markup:
    """How good it is on the device, who agrees, which layer costs most, and what it takes there."""
    drawn = [_quality(facts), _agreement(facts.parity), _layer(facts), _attention(facts)]
    about = "flash for the model file"
    drawn.append(_tile("model", f"{shown(facts.metrics['tflite_bytes'])} bytes", about))
    if facts.metrics.get("arena_bytes"):
        drawn.append(
            _tile("tensor arena", f"{shown(facts.metrics['arena_bytes'])} bytes", "RAM in TFLM, as on 64 bits")
        )
    c = facts.metrics.get("c")
    if c is not None:
        flash = c.get("program_flash_bytes", c["constant_bytes"])
        what = f"flash on {c['board']}" if "board" in c else "flash for constants"
        states = f", states {shown(c['state_bytes'])} bytes" if "state_bytes" in c else ""
        about = f"{what}; working memory {shown(c['scratch_bytes'])} bytes{states} of RAM"
        drawn.append(_tile("plain C", f"{shown(flash)} bytes", about))
    counted = inference(facts)
    if counted is not None:
        drawn.append(_tile("one inference", *counted))
    elif "macs" in facts.metrics:
        drawn.append(_tile("one inference", f"{shown(facts.metrics['macs'])} MAC", "multiply-accumulates"))
    return element("dl", *(tile for tile in drawn if tile), class_="tiles")


def _quality(facts: Facts) -> Markup:
    """The first figure of the last stage, against that of the best float network known; none without a test."""
    test = facts.metrics["test"]
    if not test:
        return Markup()
    column, last = _columns(facts)[0], list(test)[-1]
    verdict = facts.metrics.get("verdict") or {}
    better = facts.better.get(column) or verdict.get("better")
    before, called = test["float"][column], facts.metrics.get("float_network", "float network")
    for each in verdict.get("comparisons", ()):
        if each["kind"] == "float" and each["figure"] != before and (each["figure"] < before) == (better == "lower"):
            before, called = each["figure"], each["against"]
    after = test[last][column]
    words, good = compared(before, after, better, called)
    about = f"{words} ({shown(before)})"
    if "ptq_int8" in test and last != "ptq_int8":
        anew = facts.metrics.get("float_network") in QUANTIZED_WEIGHTS
        named = _called(facts, "ptq_int8") if anew else "post-training int8"
        about += f"; {named}: {shown(test['ptq_int8'][column])}"
    return _tile(f"{column} on the test set, {stage_name(last)}", shown(after), about, "good" if good else "")


def compared(before: float, after: float, better: str | None, called: str = "float network") -> tuple[str, bool]:
    """A figure against the float network's in words, and whether it is known to be as good.

    >>> compared(0.5, 0.51, "lower")
    ('2 % worse than the float network', False)

    Args:
        before: of the float network.
        after: of another.
        better: ``"higher"``, ``"lower"``, or ``None`` where that is not known.
        called: the float network.
    """
    if shown(before) == shown(after):
        return f"the {called}'s", True
    share = f"{shown(100 * abs(after - before) / abs(before), 2)} % " if before else ""
    if better is None:
        return f"{share}{'more' if after > before else 'less'} than the {called}", False
    good = (after > before) == (better == "higher")
    return f"{share}{'better' if good else 'worse'} than the {called}", good


def _layer(facts: Facts) -> Markup:
    """The layer whose quantization moves the output most."""
    if len(facts.layers) < 3:
        return Markup()
    _, worst, *_, whole = facts.layers
    about = f"{worst.name} ({worst.op.upper()}) alone moves the output by that; all layers: {moved(whole)}"
    return _tile("layer that costs most", moved(worst), about)


def _attention(facts: Facts) -> Markup:
    """The tensor that loses most, and whether there is something to do."""
    worst = weakest(facts.errors)
    if worst is None:
        return Markup()
    findings = sum(bool(error.finding) for error in facts.errors)
    if not findings:
        least = f"least signal over noise: {worst.tensor_name}, {shown(worst.snr_db, 3)} dB"
        return _tile("tensors that need attention", "none", least, "good")
    about = f"worst: {worst.tensor_name}, {worst.finding}, {shown(worst.snr_db, 3)} dB; "
    # The section with the advice is of graphs.
    where = "see quantization_report.csv" if facts.graph is None else _ADVICE
    return _tile("tensors that need attention", f"{findings}", joined(about, where), "bad")


#: Where a reader finds what to do.
_ADVICE = element("a", "advice", href="#advice")


def moved(cost: LayerCost) -> str:
    """Root of the error's power over the output's, in percent."""
    return f"{shown(100 * math.sqrt(cost.noise), 2)} %"


def weakest(errors: tuple[TensorError, ...]) -> TensorError | None:
    """The first with a finding that has the lowest signal-to-noise ratio; without findings, the lowest of all."""
    finite = [row for row in errors if math.isfinite(row.snr_db)]
    return min([row for row in finite if row.finding] or finite, key=lambda row: row.snr_db, default=None)


def _tile(name: str, value: str, about: str | Markup, kind: str = "") -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_=f"figure {kind}".strip()),
        element("dd", about, class_="soft"),
        class_="tile",
    )


def _agreement(parity: Mapping[str, Any]) -> Markup:
    judges = parity["judges"]
    if isinstance(judges, Mapping):
        return _tile("agreement", "node by node", f"judged by {', '.join(judges)}", "good")
    # A judge's name may go on behind a comma with how it was run.
    called = {judge.split(",")[0] for judge in judges}
    ran = [engine for name, engine in parity["engines"].items() if name in called]
    inputs = min((engine["inputs"] for engine in ran), default=0)
    about = f"judged by {', '.join(judges)}"
    others = [_exact(e) for name, e in parity["engines"].items() if name not in called]
    if others:
        about += f"; others equal on at least {shown_share(min(others))} of outputs"
    return _tile("bit for bit equal", f"{shown(inputs)} inputs", about, "good")


def _exact(engine: Mapping[str, Any]) -> float:
    """Share of outputs."""
    return 1 - engine["mismatches"] / max(1, engine["outputs"])


def _columns(facts: Facts) -> list[str]:
    return list(facts.metrics["columns"]) or list(facts.metrics["test"]["float"])


def stage_section(facts: Facts) -> Markup:
    """metrics.json's figures: one row per stage; what was left out, and why."""
    left_out = [element("p", sentence) for sentence in in_sentences(facts.metrics.get("left_out", {}))]
    return joined(*left_out, _figures(facts)) if facts.metrics["test"] else joined(*left_out)


def _figures(facts: Facts) -> Markup:
    test = facts.metrics["test"]
    names = list(dict.fromkeys([*_columns(facts), *test["float"]]))
    rows = [
        [_called(facts, stage), *(shown(figures[name]) if name in figures else "" for name in names)]
        for stage, figures in test.items()
    ]
    figures = table("test set", ["stage", *names], rows)
    first = _columns(facts)[0]
    drawn = [
        (_called(facts, stage), _COLOURS.get(stage, "other"), values[first])
        for stage, values in test.items()
        if first in values and math.isfinite(values[first])
    ]
    if not drawn:
        return figures
    better = facts.better.get(first)
    caption = f"{first} by stage" + (f"; the {better} the better" if better else "")
    return joined(element("div", figure(bars(drawn, caption), caption), class_="charts"), figures)


def _called(facts: Facts, stage: str) -> str:
    return stage_name(stage, facts.metrics.get("float_network", "float network"))


#: Colours of stages: float networks, those that run on the device, and all else.
_COLOURS = {"float": "float"} | dict.fromkeys(
    ("ptq_int8", "qat_int8", "post_training_int8", "float32", "float16", "dynamic_range"), "int8"
)


def layer_section(facts: Facts) -> Markup:
    """What each layer's quantization alone does to the output."""
    if len(facts.layers) < 3:
        return Markup()
    _, *layers, whole = facts.layers
    most = max(layer.noise for layer in layers) or 1.0
    rows: list[list[str | Markup]] = []
    for layer in layers:
        about = f"{layer.name}: {moved(layer)}"
        drawn = bar(math.sqrt(layer.noise / most), "int8", about)
        rows.append([layer.name, drawn, moved(layer), layer.op.upper(), layer.bits])
    text = (
        "One layer quantized at a time, its inputs, weights and outputs, all others in float: by how much the "
        "network's output moves, root mean square over that of the output itself. All layers together: "
        f"{moved(whole)}. Figures of the task for each layer: python -m export sensitivity CHECKPOINT."
    )
    header = ["layer", "", "output moves by", "op", "bits"]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "text", "number", "text", "text")
    return joined(element("p", text), table("the dearest first", header, rows, kinds))


def parity_section(facts: Facts) -> Markup:
    """parity.json: which engines ran on how many inputs, and which of them had to agree."""
    judges = facts.parity["judges"]
    if isinstance(judges, Mapping):
        names = list(dict.fromkeys(name for figures in judges.values() for name in figures))
        rows = [[judge, *(_cell(figures.get(name, "")) for name in names)] for judge, figures in judges.items()]
        return table("every node judged by its float function", ["judge", *names], rows)
    rows = []
    for name, engine in facts.parity["engines"].items():
        judged = next((judge for judge in judges if judge.split(",")[0] == name), None)
        verdict = "" if judged is None else "had to agree, and did" + judged[len(name) :]
        rows.append([
            name, shown_share(_exact(engine)), shown(engine["max_lsb"]), verdict or "reported",
            shown(engine["inputs"]), shown(engine["outputs"]), engine["version"],
        ])  # fmt: skip
    for name, absent in facts.parity["not_run"].items():
        rows.append([name, "", "", f"could not run: {absent['error']}", "", "", absent["version"]])
    header = ["engine", "exact", "largest difference", "role", "inputs", "outputs", "version"]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "number", "number", "text", "number", "number", "text")
    qparams, constants = facts.parity["qparams"], facts.parity["constants"]
    text = (
        f"In the file, read back, {shown(qparams['mismatches'])} of {shown(qparams['tensors'])} scales and zero points "
        f"and {shown(constants['mismatches'])} of {shown(constants['values'])} weights and biases differ from the "
        "network's."
    )
    if facts.parity["exhaustive"]:
        text += " The inputs are all that there are."
    others = [name for name, engine in facts.parity["engines"].items() if engine["mismatches"]]
    if others:
        text += (
            f" {', '.join(others)}: reported, no defect. Some of LiteRT's kernels round once where TFLM rounds twice."
        )
        if "qat_network" in others:
            text += " Layers that are left in float32 add in an order of their own."
    return joined(
        table("outputs against the integer reference, in codes", header, rows, kinds),
        element("p", text),
        _editions(facts),
    )


def _editions(facts: Facts) -> Markup:
    """For which TFLite Micro the file is, what was written otherwise for it, and which others compute it otherwise."""
    figures = facts.metrics.get("tflm")
    if figures is None:
        return Markup()
    rows = [
        [
            name,
            "written again" if each["operator"] is None else each["operator"],
            each["name"],
            each["words"],
            each["effect"],
        ]
        for name, findings in facts.parity.get("editions", {}).items()
        if findings != "agrees"
        for each in findings
    ]
    agree = [name for name, findings in facts.parity.get("editions", {}).items() if findings == "agrees"]
    said = [f"This file is for {figures['description']} ({figures['edition']}).", *figures["sentences"]]
    said.append(f"{len(agree)} known editions of TFLite Micro compute it as training did: {', '.join(agree)}.")
    header = ["edition", "operator", "op", "what it would compute otherwise", "effect"]
    cells = [[shown(cell) if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    others = table("other editions, which this file is not for", header, cells) if cells else Markup()
    return joined(*(element("p", sentence) for sentence in said), others)


def _cell(value: object) -> str:
    return shown(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def training_section(facts: Facts) -> Markup:
    """Loss by epoch, if any was recorded."""
    losses = {part: curve for part, curve in facts.losses.items() if curve}
    if not losses:
        return Markup()
    names = {"training": "float", "validation": "int8"}
    series = {names[part]: sorted(curve.items()) for part, curve in losses.items()}
    began = facts.began
    inside = began is not None and any(epoch >= began for curve in losses.values() for epoch in curve)
    drawing = lines(series, "loss by epoch", "epoch", "loss", float(began) if began is not None and inside else None)
    caption = "mean loss by epoch" + (f"; dashed: quantized training begins, epoch {began}" if inside else "")
    if "validation" not in losses:
        caption += "; no validation ran"
    elif facts.validated_on_training:
        caption += "; this data has no validation part: it is the training part in evaluation mode"
    rows = []
    for part, curve in losses.items():
        first, last, best = min(curve), max(curve), min(curve, key=lambda epoch: curve[epoch])
        rows.append([part, shown(len(curve)), shown(curve[first]), shown(curve[last]), shown(curve[best]), str(best)])
    header = ["part", "epochs", "first", "last", "lowest", "in epoch"]
    shape = element("div", figure(drawing, caption, {names[part]: part for part in losses}), class_="charts")
    return joined(shape, table("loss", header, rows))
