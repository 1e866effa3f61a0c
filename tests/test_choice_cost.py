"""What a choice makes larger is said with both figures, those of two exports that were made each by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import qtorch
from export.bundle.bundle import Bundle
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.cost.choice_cost import ChoiceCost, Sizes, in_a_sentence, without
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from tests.plain_lightning import Plain, PlainData, calibrated_run


def _exported(config: dict[str, Any], **options: Any) -> Bundle:
    torch.manual_seed(0)
    return make_bundle(subject_of(calibrated_run(Plain, PlainData(), **config)), "it", ExportOptions(**options))


@pytest.fixture(scope="module")
def eight_bits() -> Bundle:
    """The float network calibrated with the default choices."""
    return _exported({}, c=True, post_training=True)


def test_default_choices_have_no_line(eight_bits: Bundle) -> None:
    assert "choices" not in eight_bits.metrics


@pytest.mark.parametrize(
    ("config", "words", "called"),
    [
        ({"activations": "int16"}, "16-bit activations", "the file takes"),
        ({"weight_bits": 4}, "weights of 4 bits", ""),
        ({"layers": {"3": {"skip": True}}}, "layers left in float32", "the file takes"),
    ],
    ids=["int16", "4 bits", "float"],
)
def test_both_figures_are_those_of_exports(eight_bits: Bundle, config: dict[str, Any], words: str, called: str) -> None:
    writes_c = "layers" not in config
    bundle = _exported(config, c=writes_c)
    (entry,) = bundle.metrics["choices"]
    assert entry["choice"] == words
    assert entry["chosen"]["file"] == bundle.metrics["tflite_bytes"] == len(bundle.files["it.tflite"])
    assert entry["other"]["file"] == eight_bits.metrics["tflite_bytes"] == len(eight_bits.files["it.tflite"])
    for of, other in ((bundle, "chosen"), (eight_bits, "other")):
        assert entry[other]["arena"] == of.arena_bytes
    if writes_c:
        for of, other in ((bundle, "chosen"), (eight_bits, "other")):
            assert entry[other]["c_constants"] == of.metrics["c"]["constant_bytes"]
            assert entry[other]["c_memory"] == of.metrics["c"]["scratch_bytes"]
    said, page = plain_text(outcome_page(bundle)), bundle.files["report.html"].decode()
    sentence = in_a_sentence(ChoiceCost.from_json(entry))
    # What a device allocates is the arena.
    assert "tensors' memory" not in sentence
    if called:
        assert f"{words}: {called} {entry['chosen']['file']:,} bytes instead of {entry['other']['file']:,}" in sentence
        assert sentence in said
        assert f"{words}: {called}" in page
    else:
        # Nothing is larger here, and nothing is said.
        assert (sentence, words in said, words in page) == ("", False, False)


def test_options_are_compared_too() -> None:
    bundle = _exported({}, c=True, optimize="speed", io="float32", target="uno")
    said = plain_text(outcome_page(bundle))
    inputs, speed = bundle.metrics["choices"]
    assert f"float32 inputs and outputs: the file takes {bundle.metrics['tflite_bytes']:,} bytes instead of" in said
    assert f"{inputs['other']['file']:,} (int8)" in said
    assert speed["chosen"]["c_constants"] == bundle.metrics["c"]["constant_bytes"]
    smaller = _exported({}, c=True, target="uno")
    assert speed["other"]["c_constants"] == smaller.metrics["c"]["constant_bytes"]
    assert inputs["other"]["file"] == smaller.metrics["tflite_bytes"]


def test_a_choice_is_called_by_its_name() -> None:
    bundle = _exported({}, c=True, optimize="ram", target="uno")
    (chosen,) = bundle.metrics["choices"]
    assert chosen["choice"] == "optimize ram"


def test_the_sentence_of_a_cost() -> None:
    cost = ChoiceCost("weights of 4 bits", "8 bits", Sizes(1328, 40, 748, 32), Sizes(1840, 40, 684, 32))
    assert in_a_sentence(cost) == (
        "weights of 4 bits: plain C's constants take 748 bytes instead of 684 (8 bits); the file 1,328 instead of 1,840"
    )
    assert ChoiceCost.from_json(cost.as_json()) == cost
    assert in_a_sentence(ChoiceCost("a", "b", Sizes(1, 2), Sizes(2, 2))) == ""
    # Without TFLite Micro there is no arena to compare.
    assert "the tensors' memory 8 instead of 4" in in_a_sentence(ChoiceCost("a", "b", Sizes(2, 8), Sizes(1, 4)))
    measured = ChoiceCost("a", "b", Sizes(2, 8, arena=32), Sizes(1, 4, arena=16))
    assert (
        in_a_sentence(measured) == "a: the file takes 2 bytes instead of 1 (b); TFLite Micro's arena 32 instead of 16"
    )
    alone = ChoiceCost("a", "b", Sizes(2, 4, arena=3008), Sizes(2, 4, arena=2832))
    assert in_a_sentence(alone) == "a: TFLite Micro's arena takes 3,008 bytes instead of 2,832 (b)"
    unknown = ChoiceCost("a", "b", Sizes(1, 2), None, "there are no training data")
    assert in_a_sentence(unknown) == "a: not compared with b: there are no training data"
    assert ChoiceCost.from_json(unknown.as_json()) == unknown


def test_a_choice_taken_back_leaves_the_others() -> None:
    config = qtorch.QuantizationConfig(
        activations="int16", layers={"a": {"activations": "int8", "weight_bits": 4}, "b*": {"margin": 0.1}}
    )
    found = without(config, "weight_bits", 8)
    assert (found.activations, dict(found.layers)) == (
        "int16",
        {"a": {"activations": "int8"}, "b*": {"margin": 0.1}},
    )
    assert without(config, "activations", "int8").layer("a").activations == "int8"
