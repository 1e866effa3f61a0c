"""The short table at the end of an export."""

from __future__ import annotations

from export.bundle import Bundle

__all__ = ["table"]

_STAGES = {
    "linear_regression": "linear regression",
    "float": "float network",
    "ptq_int8": "int8, post-training (TFLM)",
    "qat_fake_quant": "QAT network",
    "qat_int8": "int8, QAT (TFLM)",
}


def table(bundle: Bundle, unit: str) -> str:
    """Test metrics of every stage, sizes, and what the parity check found."""
    lines = [f"{'test set':28}{'MSE':>10}{'MAE':>10}{'R2':>10}   ({unit or 'no unit'})"]
    for stage, label in _STAGES.items():
        figures = bundle.metrics["test"][stage]
        lines.append(f"{label:28}{figures['mse']:10.4g}{figures['mae']:10.4g}{figures['r2']:10.4f}")
    lines.append("")
    lines.append(f"{'agrees with the integers':28}{'inputs':>10}{'exact':>10}{'max LSB':>10}")
    for name, engine in bundle.parity.engines.items():
        judged = "  judged" if name in bundle.parity.judges else ""
        lines.append(f"{name:28}{engine.inputs:10}{engine.exact_share:10.2%}{engine.max_lsb:10}{judged}")
    file = bundle.parity.file
    lines.append("")
    lines.append(f"{file.tensors} scales and zero points, {file.values} weights and biases: all as trained")
    lines.append(f"{bundle.metrics['tflite_bytes']:,} bytes of model, {bundle.arena_bytes:,} bytes of arena (64-bit)")
    return "\n".join(lines)
