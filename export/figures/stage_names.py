"""What a person calls the stages at which a network is tested."""

from __future__ import annotations

from export.parity.judges import exact_judge, judge_here

__all__ = ["QUANTIZED_WEIGHTS", "STAGES", "stage_name"]

#: Those of :func:`export.figures.stages.stage_figures`, and those of float formats.
STAGES = {
    "linear_regression": "linear regression",
    "float": "float network",
    "ptq_int8": "int8, post-training (TFLM)",
    "qat_float": "QAT network's weights in float",
    "qat_network": "QAT network",
    "qat_int8": "int8, QAT (TFLM)",
    "post_training_float": "post-training network's weights in float",
    "post_training_network": "post-training network",
    "post_training_int8": "int8, as chosen (TFLM)",
    "float32": "float32 model (TFLM)",
    "float16": "float16 weights (LiteRT)",
    "dynamic_range": "int8 weights (LiteRT)",
}

#: What stands in the float network's place where that is gone: weights that are made for a grid already.
QUANTIZED_WEIGHTS = (STAGES["qat_float"], STAGES["post_training_float"])
#: Post-training quantization of those, which is not that of a float network.
_ANEW = "int8, those weights calibrated anew (TFLM)"


def stage_name(stage: str, float_name: str = STAGES["float"]) -> str:
    """What a person calls a stage, with what computed it here.

    Args:
        stage: a key of :data:`STAGES`; another is its own name.
        float_name: what a person calls the float network, see :class:`export.figures.subject.Networks`.
    """
    name = float_name if stage == "float" else STAGES.get(stage, stage)
    if stage == "ptq_int8" and float_name in QUANTIZED_WEIGHTS:
        name = _ANEW
    if "(TFLM)" not in name:
        return name
    engine = judge_here() if stage == "float32" else exact_judge()
    return name.replace("(TFLM)", "(reference)" if engine is None else f"({engine.called or engine.name})")
