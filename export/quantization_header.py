"""``<name>_quantization.h``: physical values to codes and back, in C, equal to the training code bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from export.c_names import c_identifier
from export.c_text import close_guard, double_literal, float_literal, open_guard, parenthesized, quoted
from export.tensor_code import SUFFIX, described, generic_code, tensor_macro, variable
from export.tensor_layout import TensorLayout
from qtorch.features import Feature, Interface
from qtorch.qparams import CODE_RANGE, QParams

__all__ = ["quantization"]


def quantization(
    name: str,
    interface: Interface,
    inputs: tuple[QParams, ...],
    outputs: tuple[QParams, ...],
    sizes: tuple[int, int] | None = None,
    layouts: Sequence[TensorLayout] = (),
) -> str:
    """``<name>_quantization.h``: physical values to int8 or int16 codes and back, equal to QParams bit for bit.

    Input features get ``<name>_quantize_<feature>``, output features ``<name>_dequantize_<feature>``; two features
    whose identifiers agree are told apart by ``_2``, ``_3``. All features lie in input tensor 0 and output tensor 0:
    as many as the tensor has elements, which is the caller's concern, or one that all elements share.

    Args:
        name: the model's, any string.
        interface: the quantities, in the tensors' order.
        inputs: one record per input tensor, int8 or int16 per tensor.
        outputs: likewise.
        sizes: elements of input tensor 0 and of output tensor 0, one sample's; the features' numbers if ``None``.
        layouts: of all inputs and outputs of the model file; where they are given the header says in which order their
            axes lie, with a line of code that fills or reads each.

    Raises:
        ValueError: no record, or one that is not int8 or int16 per tensor.
    """
    name = c_identifier(name)
    feature_sides = (("input", interface.inputs, inputs), ("output", interface.outputs, outputs))
    elements = dict(zip(("input", "output"), sizes or (len(interface.inputs), len(interface.outputs)), strict=True))
    parts = [
        f"""\
// Codes from physical values, and physical values from codes: real = scale * (code - zero point).
//
// These functions agree with the training code bit for bit, given IEEE arithmetic: compile without -ffast-math.
// Physical units are converted in double. Where double is float, as on AVR, a value within a rounding error of the
// middle between two codes may get the neighbouring code; features with offset 0 and span 1 are exact there too.
{_recorded(interface)}{open_guard(f"{name}_quantization")}
#include <stdint.h>
"""
    ]
    if layouts:
        parts += [_ORDER, described(name, layouts, lambda layout: _conversion(name, layout, interface))]
    for side, features, records in feature_sides:
        parts.append(_figures(name, side, features, records))
        if len(features) == 1 < elements[side]:
            parts.append(f"// Elements of the tensor; all are {quoted(features[0].name)}.")
            parts.append(f"#define {name.upper()}_{side.upper()}_SIZE {elements[side]}\n")
    parts += [_code_of(name, dtype) for dtype in dict.fromkeys(record.dtype for record in inputs)]
    for side, features, records in feature_sides:
        dtype = records[0].dtype
        identifiers = _distinct(feature.name for feature in features)
        tensor = tensor_macro(name, side, 0, len(records))
        function = _quantize if side == "input" else _dequantize
        for feature, identifier in zip(features, identifiers, strict=True):
            parts.append(function(name, tensor, feature, identifier, dtype))
        if features:
            whole = _shared_by_all if len(features) == 1 < elements[side] else _whole_tensor
            parts.append(whole(name, side, identifiers, dtype))
    return "\n".join(parts) + close_guard(f"{name}_quantization")


def _recorded(interface: Interface) -> str:
    """What has to be the same on the device, as comment lines; nothing where the data does not say."""
    lines = [f"//   {key}: {quoted(value)}" for key, value in interface.recorded]
    return (
        "\n".join(["//", "// The training data was recorded so, and inputs have to be:", *lines, ""]) if lines else ""
    )


#: What the lines that fill the arrays stand under.
_ORDER = """\
// Order of the axes, last index fastest; the batch is one sample. In TFLite Micro the arrays are
// interpreter.input(0)->data and interpreter.output(0)->data, in plain C the arguments of its function. Codes in
// another order are as good as any to the model, and the test vectors can't tell: fill the arrays by these lines.
"""


def _conversion(name: str, layout: TensorLayout, interface: Interface) -> Callable[[str], str] | str:
    """Physical values where a feature says what they are, else the network's own."""
    features = interface.inputs if layout.side == "input" else interface.outputs
    if layout.index or not features or layout.scale is None:
        return generic_code(name, layout)
    verb = "quantize" if layout.side == "input" else "dequantize"
    if len(features) == 1:
        (feature,) = _distinct(feature.name for feature in features)
        return lambda element: f"{name}_{verb}_{feature}({element})"
    if len(features) != layout.elements or len(layout.shape) > 1:
        return generic_code(name, layout)
    array = variable(layout)
    given = f"samples, {array}" if layout.side == "input" else f"{array}, results"
    return f"{name}_{verb}_{layout.side}({given});"


def _figures(name: str, side: str, features: tuple[Feature, ...], records: tuple[QParams, ...]) -> str:
    """Macros: scale and zero point of each tensor of one side, offset and span of each feature."""
    if not records:
        raise ValueError(f"quantization.{side}s: expected one QParams per {side} tensor, got none")
    lines = []
    for index, record in enumerate(records):
        if record.dtype not in ("int8", "int16") or record.axis is not None:
            raise ValueError(f"quantization.{side}s[{index}]: expected int8 or int16 per tensor, got {record}")
        tensor = tensor_macro(name, side, index, len(records))
        lines.append(f"#define {tensor}_SCALE {float_literal(record.scale[0])}")
        lines.append(f"#define {tensor}_ZERO_POINT {parenthesized(str(record.zero_point[0]))}")
        if record.scale == (1.0,) and all((f.offset, f.span) == (0, 1) for f in features):
            low, high = (code - record.zero_point[0] for code in record.code_range)
            lines.append(f"// The code of a whole number from {low} to {high} is that number plus the zero point.")
    lines += ["", f"#define {name.upper()}_{side.upper()}_FEATURES {len(features)}"]
    for feature, identifier in zip(features, _distinct(feature.name for feature in features), strict=True):
        macro = f"{name.upper()}_{side.upper()}_{identifier.upper()}"
        unit = f"in {quoted(feature.unit)}" if feature.unit else "a pure number"
        lines += [
            f"// {quoted(feature.name)}, {unit}: network value = (physical value - offset) / span.",
            f"#define {macro}_OFFSET {double_literal(feature.offset)}",
            f"#define {macro}_SPAN {double_literal(feature.span)}",
        ]
    return "\n".join(lines) + "\n"


def _code_of(name: str, dtype: str) -> str:
    """The C function that all quantizing functions of a type share."""
    low, high = CODE_RANGE[dtype]
    # An int may have 16 bits.
    steps, wide, suffix = high - low + 1, "int" if dtype == "int8" else "int32_t", SUFFIX[dtype]
    return f"""\
// Nearest code, ties away from zero, clamped to {low}..{high}; the zero point for NaN. Needs no math library.
static inline {dtype}_t {name}_code{suffix}_of(float steps, {wide} zero_point) {{
  {wide} code = zero_point;
  // Beyond {steps} steps every zero point saturates, and conversion to an integer would be undefined further out.
  if (steps >= {steps}.0f) {{
    code = {high};
  }} else if (steps <= -{steps}.0f) {{
    code = {low};
  }} else if (steps > -{steps}.0f && steps < {steps}.0f) {{
    const {wide} whole = ({wide})steps;
    // Exact, so that a value just below a tie is not taken for one, as it would be in (int)(steps + 0.5f).
    const float fraction = steps - (float)whole;
    code += whole;
    if (fraction >= 0.5f) code += 1;
    if (fraction <= -0.5f) code -= 1;
  }}
  if (code < {low}) code = {low};
  if (code > {high}) code = {high};
  return ({dtype}_t)code;
}}
"""


def _quantize(name: str, tensor: str, feature: Feature, identifier: str, dtype: str) -> str:
    """The C function from one feature's physical value to its code."""
    macro = f"{name.upper()}_INPUT_{identifier.upper()}"
    if feature.offset == 0 and feature.span == 1:
        network = "physical"
    else:
        above = "(double)physical" if feature.offset == 0 else f"(double)physical - {macro}_OFFSET"
        network = f"(float)({above})" if feature.span == 1 else f"(float)(({above}) / {macro}_SPAN)"
    return f"""\
static inline {dtype}_t {name}_quantize_{identifier}(float physical) {{
  const float network = {network};
  return {name}_code{SUFFIX[dtype]}_of(network / {tensor}_SCALE, {tensor}_ZERO_POINT);
}}
"""


def _dequantize(name: str, tensor: str, feature: Feature, identifier: str, dtype: str) -> str:
    """The C function from one feature's code to its physical value."""
    macro = f"{name.upper()}_OUTPUT_{identifier.upper()}"
    scaled = "(double)network" if feature.span == 1 else f"(double)network * {macro}_SPAN"
    if feature.offset == 0 and feature.span == 1:
        convert = "  return network;"
    elif feature.offset == 0:
        convert = f"  return (float)({scaled});"
    elif feature.span == 1:
        convert = f"  return (float)({scaled} + {macro}_OFFSET);"
    else:
        convert = f"""\
  // volatile, lest the compiler fuse product and sum into one operation that rounds once instead of twice.
  const volatile double scaled = {scaled};
  return (float)(scaled + {macro}_OFFSET);"""
    return f"""\
static inline float {name}_dequantize_{identifier}({dtype}_t code) {{
  const float network = (float)((double){tensor}_SCALE * (code - {tensor}_ZERO_POINT));
{convert}
}}
"""


def _whole_tensor(name: str, side: str, identifiers: tuple[str, ...], dtype: str) -> str:
    """The C function that converts all features of tensor 0.

    Its name can't be a feature's: c_identifier never returns ``input`` or ``output``, which are Arduino macros.
    """
    size = f"{name.upper()}_{side.upper()}_FEATURES"
    if side == "input":
        head = f"{name}_quantize_input(const float physical[{size}], {dtype}_t codes[{size}])"
        lines = [f"  codes[{i}] = {name}_quantize_{feature}(physical[{i}]);" for i, feature in enumerate(identifiers)]
    else:
        head = f"{name}_dequantize_output(const {dtype}_t codes[{size}], float physical[{size}])"
        lines = [f"  physical[{i}] = {name}_dequantize_{feature}(codes[{i}]);" for i, feature in enumerate(identifiers)]
    return "\n".join([f"static inline void {head} {{", *lines, "}", ""])


def _shared_by_all(name: str, side: str, identifiers: tuple[str, ...], dtype: str) -> str:
    """The C function that converts tensor 0, all of whose elements are the one feature."""
    size, (feature,) = f"{name.upper()}_{side.upper()}_SIZE", identifiers
    if side == "input":
        head = f"{name}_quantize_input(const float physical[{size}], {dtype}_t codes[{size}])"
        line = f"codes[i] = {name}_quantize_{feature}(physical[i]);"
    else:
        head = f"{name}_dequantize_output(const {dtype}_t codes[{size}], float physical[{size}])"
        line = f"physical[i] = {name}_dequantize_{feature}(codes[i]);"
    # An unsigned int has 16 bits at least, which is more than a tensor of a device of that kind has elements.
    loop = f"  for (unsigned int i = 0; i < {size}; ++i) {line}"
    return "\n".join([f"static inline void {head} {{", loop, "}", ""])


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Identifiers in order, later ones numbered from 2 where an earlier one is the same."""
    taken: list[str] = []
    for name in names:
        identifier = stem = c_identifier(name)
        number = 2
        while identifier in taken:
            identifier, number = f"{stem}_{number}", number + 1
        taken.append(identifier)
    return tuple(taken)
