"""C and C++ sources that carry a model onto a device: pure functions from figures to text.

Every header compiles without warnings as C99 and as C++11 or later. The same arguments give the same bytes: no date, no
path, no version of the machine that wrote them. ``name`` may be any string; the files and symbols bear
:func:`~export.c_language.names.c_identifier` of it, macros the same in upper case.

What an export fills them with, :mod:`export.bundle.device_headers` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from export.c_language.names import c_identifier
from export.c_language.text import close_guard, comment, open_guard
from export.device.arena_header import arena
from export.device.build_flags import refused_build_flags
from export.device.quantization_header import quantization
from export.interface.tensor_code import described, interpreter_arrays, summary
from export.interface.tensor_layout import TensorLayout
from export.interface.tensor_meaning import conversion, meaning

__all__ = ["arena", "model_data", "op_resolver", "quantization", "test_vectors"]

#: TFLM reads flatbuffers in place, whose buffers begin at multiples of this many bytes.
_ALIGNMENT = 16

_LINE = "\n"
#: What test vectors of a network with states say besides.
_SEQUENCE = """\
//
// The network keeps states: these are runs of one sequence. Reset it before the first, and run them all in this order.
"""


def model_data(name: str, model: bytes, layouts: Sequence[TensorLayout] = ()) -> dict[str, str]:
    """The model file as a constant array: text by file name, ``<name>_model_data.h`` and ``<name>_model_data.cc``.

    The ``.cc`` file compiles as C as well, C11 or C99 with GNU's attributes, so that it can be renamed for a project
    without C++.

    Args:
        name: the model's, any string.
        model: the file.
        layouts: of its inputs and outputs, which the header then describes.

    Raises:
        ValueError: ``model`` is empty; C has no empty array.
    """
    if not model:
        raise ValueError("model_data: expected at least one byte, got an empty model")
    name = c_identifier(name)
    header = f"""\
// The model in TensorFlow Lite's format, {len(model):,} bytes.
{open_guard(f"{name}_model_data")}
{_interpreter_tensors(name, layouts)}#ifdef __cplusplus
extern "C" {{
#endif

// Begins at a multiple of {_ALIGNMENT}, because TFLM reads the model in place.
extern const unsigned char {name}_model_data[];
extern const unsigned int {name}_model_data_len;

#ifdef __cplusplus
}}  // extern "C"
#endif
{close_guard(f"{name}_model_data")}"""
    rows = "\n".join(
        "    " + " ".join(f"0x{byte:02x}," for byte in model[start : start + 16]) for start in range(0, len(model), 16)
    )
    # The header's declarations give the constants external linkage, which C++ would deny them otherwise.
    source = f"""\
#include "{name}_model_data.h"

#ifdef __cplusplus
alignas({_ALIGNMENT})
#elif defined(__GNUC__)
__attribute__((aligned({_ALIGNMENT})))
#else
_Alignas({_ALIGNMENT})
#endif
const unsigned char {name}_model_data[] = {{
{rows}
}};
const unsigned int {name}_model_data_len = {len(model)}u;
"""
    return {f"{name}_model_data.h": header, f"{name}_model_data.cc": source}


def _interpreter_tensors(name: str, layouts: Sequence[TensorLayout]) -> str:
    """What an interpreter is handed and gives; with the lines that fill it, where no other header has them."""
    if not layouts:
        return ""
    arrays = comment(f"{interpreter_arrays(layouts)}, last index fastest; the batch is one sample.")
    text = f"{arrays}\n"
    if all(layout.scale is None for layout in layouts) and any(layout.dtype == "float32" for layout in layouts):
        return f"{text}\n{described(name, layouts, conversion(name, layouts), meaning)}\n"
    lines = "".join(f"// {layout.title}: {summary(layout)}.\n" for layout in layouts)
    return f"{text}{lines}// {name}_quantization.h has the lines that fill and read them.\n\n"


def op_resolver(name: str, methods: tuple[str, ...], variables: int = 0) -> str:
    """``<name>_op_resolver.h``: registers the ops that the model uses, so that the linker keeps no other kernel.

    In C the header holds only the count, as a macro. It refuses builds by whose flags the library computes other codes.

    Args:
        name: the model's, any string.
        methods: of ``tflite::MicroMutableOpResolver``, for example ``"AddFullyConnected"``; repetitions count once.
        variables: how many resource variables the interpreter has to be given.

    Raises:
        ValueError: no method, or one that is no ``Add`` method's name.
    """
    name = c_identifier(name)
    distinct = tuple(dict.fromkeys(methods))
    if not distinct or not all(re.fullmatch(r"Add[A-Za-z0-9]+", method) for method in distinct):
        raise ValueError(f"op_resolver: expected names such as 'AddFullyConnected', at least one, got {methods!r}")
    calls = "\n".join(f"  if (resolver.{method}() != kTfLiteOk) return kTfLiteError;" for method in distinct)
    return f"""\
// The ops that the model uses, and no others.
{open_guard(f"{name}_op_resolver")}
#define {name.upper()}_OP_COUNT {len(distinct)}
{_resource_variables(name, variables)}
{refused_build_flags()}
#ifdef __cplusplus
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr unsigned int {name}_op_count = {name.upper()}_OP_COUNT;

// Call once, before the interpreter is built. kTfLiteError if an op was registered before.
inline TfLiteStatus {name}_register_ops(tflite::MicroMutableOpResolver<{name}_op_count>& resolver) {{
{calls}
  return kTfLiteOk;
}}
#else
enum {{ {name}_op_count = {name.upper()}_OP_COUNT }};
#endif  // __cplusplus
{close_guard(f"{name}_op_resolver")}"""


def _resource_variables(name: str, count: int) -> str:
    if not count:
        return ""
    return f"""
// For tflite::MicroResourceVariables::Create, whose result the interpreter is given.
#define {name.upper()}_RESOURCE_VARIABLES {count}
"""


def test_vectors(
    name: str,
    inputs: np.ndarray,
    outputs: np.ndarray,
    *,
    sequence: bool = False,  # noqa: PT028 - vectors of a test, and no test
    inputs_of: Sequence[int] = (),  # noqa: PT028 - likewise
    outputs_of: Sequence[int] = (),  # noqa: PT028 - likewise
) -> str:
    """``<name>_test_vectors.h``: codes in and the codes that must come out.

    Args:
        name: the model's, any string.
        inputs: int8 or int16 ``[N, F]``, int32 of indices.
        outputs: likewise ``[N, M]``, what TFLM computed for ``inputs``.
        sequence: of a network with states, which have to be run in this order.
        inputs_of: of several inputs, how many codes of a row are of each, in their order.
        outputs_of: likewise.

    Raises:
        ValueError: the arrays are none of these types, not two-dimensional, of different length, or empty.
    """
    name = c_identifier(name)
    for side, codes in (("inputs", inputs), ("outputs", outputs)):
        if (
            codes.dtype not in (np.int8, np.int16, np.int32)
            or codes.ndim != 2
            or codes.size == 0
            or len(codes) != len(inputs)
        ):
            raise ValueError(
                f"test_vectors.{side}: expected int8, int16 or int32 [{len(inputs)}, >= 1], "
                f"got {codes.dtype} {list(codes.shape)}"
            )
    macro, types = name.upper(), tuple(f"{codes.dtype.name}_t" for codes in (inputs, outputs))
    return f"""\
// Input codes, and the output codes that TFLite Micro computed for them. A device must match them exactly: every
// difference, even of 1, is an error. Their axes lie as {name}_quantization.h says; they can't tell whether a sensor's
// values are brought into that order.
{_SEQUENCE if sequence else ""}{open_guard(f"{name}_test_vectors")}
#include <stdint.h>

#define {macro}_TEST_COUNT {len(inputs)}
{f"#define {macro}_TEST_SEQUENCE 1{_LINE}" if sequence else ""}#define {macro}_TEST_INPUT_SIZE {inputs.shape[1]}
#define {macro}_TEST_OUTPUT_SIZE {outputs.shape[1]}
{_parts(macro, "INPUT", inputs_of)}{_parts(macro, "OUTPUT", outputs_of)}
// Whoever includes this may use one array only. On AVR, where even constants would fill the RAM, the arrays stay in
// flash: read them with memcpy_P or pgm_read_byte.
#if defined(__AVR__)
#define {macro}_TEST_STORAGE __attribute__((unused, progmem))
#elif defined(__GNUC__)
#define {macro}_TEST_STORAGE __attribute__((unused))
#else
#define {macro}_TEST_STORAGE
#endif

static const {types[0]} {macro}_TEST_STORAGE {name}_test_inputs[{macro}_TEST_COUNT][{macro}_TEST_INPUT_SIZE] = {{
{_array_rows(inputs)}
}};

static const {types[1]} {macro}_TEST_STORAGE {name}_test_outputs[{macro}_TEST_COUNT][{macro}_TEST_OUTPUT_SIZE] = {{
{_array_rows(outputs)}
}};
{close_guard(f"{name}_test_vectors")}"""


def _parts(macro: str, side: str, sizes: Sequence[int]) -> str:
    """Where each of several inputs or outputs begins in a row."""
    if len(sizes) < 2:
        return ""
    begins = [sum(sizes[:index]) for index in range(len(sizes))]
    lines = [f"#define {macro}_TEST_{side}_{index}_BEGIN {begin}" for index, begin in enumerate(begins)]
    return "\n".join(["", f"// The {side.lower()}s stand one after another in a row; where each begins:", *lines, ""])


def _array_rows(codes: np.ndarray) -> str:
    return "\n".join("    {" + ", ".join(str(code) for code in row) + "}," for row in codes.tolist())
