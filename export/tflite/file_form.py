"""What kind of network a .tflite file holds, in words and with what to do where it is none of integers.

Most files that people hand in and that no microcontroller computes exactly are of a few kinds: a converter was asked
for less than integers, or left to itself what it could not convert. Each is called by its name here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from export.tflite.equivalents.equivalents import in_known_operators
from export.tflite.equivalents.float_functions import parts_of_tables
from export.tflite.equivalents.front_end import signals
from export.tflite.equivalents.streams import STREAMS, with_streams
from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor
from export.tflite.form import CONVERT_INT8, FileForm, Form
from export.tflite.soundness import require_sound
from export.tflite.zero_points import shifted_int16, shifted_weights

__all__ = ["file_form", "require_integers", "require_on_tflm"]

#: What holds its numbers otherwise than in integers, and computes in floats, is read here as a float network.
_QUANTIZE = (
    "qtorch compile MODEL.tflite --data x.npy --out DIR, with inputs like those of training, quantizes it and makes C "
    f"of it; or {CONVERT_INT8}"
)
_FLOATS = ("float32", "float16")
_NARROW = ("int4", "int8", "uint8", "int16")
#: Where the weights of an operator stand.
_WEIGHTS = {
    "BATCH_MATMUL": (1,),
    "BIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 18)),
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "EMBEDDING_LOOKUP": (1,),
    "FULLY_CONNECTED": (1,),
    "GATHER": (0,),
    "SVDF": (1, 2),
    "TRANSPOSE_CONV": (1,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
}
#: Operators that compute with uint8 in the files of TensorFlow 1, and that TFLM computes with int8 alone.
_ARITHMETIC = frozenset(
    {"ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MEAN"}
    | {"MUL", "SOFTMAX", "SUB", "TANH", "TRANSPOSE_CONV"}
)
#: Between floats and integers; they are the ends of a network of integers.
_ENDS = ("DEQUANTIZE", "QUANTIZE")
#: What a compiler for one processor puts in the place of a network, and whose compiler it is.
_COMPILED = {
    "ethos-u": ("Arm's Ethos-U, by Vela", "Vela was given"),
    "edgetpu-custom-op": ("Google's Edge TPU", "edgetpu_compiler was given"),
}
_DETECTION = "TFLite_Detection_PostProcess"
_LOOPS = ("WHILE", "STABLEHLO_WHILE")
#: Custom operators that TFLite Micro registers by itself, all of them of integers.
_SIGNAL = "Signal"
_OF_TFLM = (_SIGNAL, "CIRCULAR_BUFFER")


def file_form(contents: FileContents) -> FileForm:
    """What a file is; the first of these kinds that it has something of."""
    found = (recognized(contents) for recognized in _RECOGNIZED)
    return next(filter(None, found), FileForm("integers", _integers(contents)))


def require_integers(contents: FileContents, where: str) -> None:
    """Refuse what is no network of integers, called by its name.

    Args:
        contents: of a file.
        where: what to call it in an error.

    Raises:
        BadModelFile: so it is; says what it is and what to do.
    """
    form = file_form(contents)
    if not form.is_integers:
        raise form.refused(where)


def require_on_tflm(contents: FileContents, where: str) -> None:
    """Refuse what TFLite Micro has no kernels for, called by its name; as :func:`require_integers` does.

    Raises:
        BadModelFile: so it is.
    """
    form = file_form(contents)
    if not form.on_tflm:
        raise form.refused(where)


def _integers(contents: FileContents) -> str:
    entry = contents.subgraphs[0]
    kinds = {tensor.dtype for _, tensor in _running(entry, entry.operators) if tensor.dtype in _NARROW and tensor.scale}
    ends = {tensor.dtype for tensor in entry.tensors_at((*entry.inputs, *entry.outputs))}
    numbers = " and ".join(sorted(kinds)) or "integers"
    tables = _float_operators(contents)
    between = f", with {_counted(tables)} in float32, which are computed on codes" if tables else ""
    return f"a network of {numbers}" + (", with float32 at its ends" if "float32" in ends else "") + between


def _is_constant(tensor: FileTensor) -> bool:
    return tensor.constant_bytes > 0


def _running(graph: FileSubgraph, operators: Iterable[FileOperator]) -> Iterator[tuple[FileOperator, FileTensor]]:
    """What is computed, and who reads or writes it."""
    for operator in operators:
        for tensor in graph.tensors_at((*operator.inputs, *operator.outputs)):
            if not _is_constant(tensor):
                yield operator, tensor


def _everywhere(contents: FileContents) -> Iterator[tuple[FileSubgraph, FileOperator]]:
    return ((graph, operator) for graph in contents.subgraphs for operator in graph.operators)


def _counted(names: Iterable[str]) -> str:
    """``3 CONV_2D, 1 SOFTMAX``, the most frequent first."""
    counts = Counter(names).most_common()
    shown = ", ".join(f"{count} {name}" for name, count in counts[:6])
    return f"{shown} and {len(counts) - 6} kinds more" if len(counts) > 6 else shown


def _unpacks(graph: FileSubgraph, operator: FileOperator, dtypes: Iterable[str]) -> bool:
    """Whether an operator makes float32 of a constant of one of these types."""
    if operator.name != "DEQUANTIZE" or not operator.inputs or operator.inputs[0] == -1:
        return False
    source = graph.tensors[operator.inputs[0]]
    return source.dtype in dtypes and (_is_constant(source) or _is_densified(graph, source))


def _is_densified(graph: FileSubgraph, tensor: FileTensor) -> bool:
    return any(each.name == "DENSIFY" and tensor.index in each.outputs for each in graph.operators)


def _float_operators(contents: FileContents, known: Collection[int] = ()) -> list[str]:
    """Names of operators that compute in float32, whatever their weights are held in; without some of the entry's, by
    their numbers."""
    running = (
        (operator, tensor)
        for at, graph in enumerate(contents.subgraphs)
        for operator, tensor in _running(graph, graph.operators)
        if operator.name not in (*_ENDS, "DENSIFY") and (at or operator.number not in known)
    )
    return [operator.name for operator in dict.fromkeys(_Same(o) for o, t in running if t.dtype in _FLOATS)]


class _Same:
    """An operator told from others by identity: two of a file may be equal."""

    def __init__(self, operator: FileOperator) -> None:
        self.operator, self.name = operator, operator.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.operator is other.operator

    def __hash__(self) -> int:
        return id(self.operator)


def _compiled(contents: FileContents) -> FileForm | None:
    for _, operator in _everywhere(contents):
        processor = _COMPILED.get(operator.name.removeprefix("CUSTOM:"))
        if processor:
            return FileForm(
                "compiled for a processor",
                f"a network that was compiled for {processor[0]} ({operator.name})",
                "what it computes is commands of that processor, which nothing else can read",
                f"pass the .tflite file that {processor[1]}",
            )
    return None


def _detection(contents: FileContents) -> FileForm | None:
    entry = contents.subgraphs[0]
    for index, operator in enumerate(entry.operators):
        if operator.name == f"CUSTOM:{_DETECTION}":
            names = [tensor.name or f"tensor {tensor.index}" for tensor in entry.tensors_at(operator.inputs[:2])]
            return FileForm(
                "detection",
                f"a detector that ends in operator {index}, {_DETECTION}, whose boxes and scores are float32",
                "it sorts and suppresses boxes in float32, where no two programs round alike",
                f"cut the file before it, at {' and '.join(map(repr, names))}, and do in the program what it does; "
                "where the network is at hand, convert it without that operator",
            )
    return None


def _tensorflow(contents: FileContents) -> FileForm | None:
    names = [o.name.removeprefix("CUSTOM:") for _, o in _everywhere(contents) if o.name.startswith("CUSTOM:Flex")]
    if not names:
        return None
    return FileForm(
        "TensorFlow operators",
        f"a network with operators of TensorFlow itself: {_counted(names)}",
        "they run where the whole of TensorFlow is linked, and not on a microcontroller",
        "convert again without tf.lite.OpsSet.SELECT_TF_OPS, which then names what to write in other operators",
    )


def _custom(contents: FileContents) -> FileForm | None:
    names = [
        operator.name.removeprefix("CUSTOM:")
        for _, operator in _everywhere(contents)
        if operator.name.startswith("CUSTOM:") and not operator.name.removeprefix("CUSTOM:").startswith(_OF_TFLM)
    ]
    if not names:
        return None
    return FileForm(
        "custom operators",
        f"a network with operators of somebody's own: {_counted(names)}",
        "a file says of such an operator no more than its name, and TFLite Micro has none of that name",
        "convert again without them, or cut the file before the first",
    )


def _front_end(contents: FileContents) -> FileForm | None:
    names = [
        operator.name.removeprefix("CUSTOM:")
        for _, operator in _everywhere(contents)
        if operator.name.startswith(f"CUSTOM:{_SIGNAL}") and operator.name not in signals() | STREAMS
    ]
    if not names:
        return None
    return FileForm(
        "audio front end",
        f"an audio front end with operators of TFLite Micro's own that nothing here computes: {_counted(names)}",
        "others of its operators are known, which docs/operators.md lists",
        "leave it to TFLite Micro, whose sources have them under signal/src, and compile the "
        "file of the network behind it; where both are one file, cut it behind the last of these",
    )


def _loop(contents: FileContents) -> FileForm | None:
    for index, operator in enumerate(contents.subgraphs[0].operators):
        if operator.name in _LOOPS:
            return FileForm(
                "loop",
                f"a network with a loop, operator {index} ({operator.name}), as Keras 3 makes of LSTM, GRU and RNN",
                "how often it runs is decided while it runs, and its steps are other subgraphs of the file",
                "convert the network again with unroll=True in these layers, which writes out all steps; or, an LSTM, "
                "with Keras 2 (pip install tf_keras, TF_USE_LEGACY_KERAS=1) and a fixed batch size of 1, which writes "
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
            )
    return None


def _dynamic_range(contents: FileContents) -> FileForm | None:
    names = []
    weights = set()
    for graph, operator in _everywhere(contents):
        places = [operator.inputs[place] for place in _WEIGHTS.get(operator.name, ()) if place < len(operator.inputs)]
        narrow = [t for t in graph.tensors_at(places) if _is_constant(t) and t.dtype in _NARROW and t.scale]
        if narrow and any(tensor.dtype in _FLOATS for tensor in graph.tensors_at(operator.outputs)):
            names.append(operator.name)
            weights |= {tensor.dtype for tensor in narrow}
    if not names:
        return None
    return FileForm(
        "dynamic range",
        f"a dynamic-range file: weights of {' and '.join(sorted(weights))}, activations of float32, "
        f"in {_counted(names)}",
        "each inference measures the range of each activation anew; TFLite Micro has no kernels for it, and on a "
        "processor without a float unit it is slow",
        _QUANTIZE,
    )


def _unpacked(contents: FileContents) -> FileForm | None:
    """float16 or narrow constants behind DEQUANTIZE."""
    halves = sum(_unpacks(graph, operator, ("float16",)) for graph, operator in _everywhere(contents))
    narrow = sum(_unpacks(graph, operator, _NARROW) for graph, operator in _everywhere(contents))
    if not _float_operators(contents) or (not halves and not narrow):
        return None
    kind: Form = "float16" if halves else "weights only"
    held = "float16" if halves else "integers"
    return FileForm(
        kind,
        f"a float network whose weights are held in {held}: {halves or narrow} constants behind DEQUANTIZE",
        "it computes in float32; it takes less space in the file, and neither less memory nor less time",
        _QUANTIZE,
    )


def _sparse(contents: FileContents) -> FileForm | None:
    count = sum(operator.name == "DENSIFY" for _, operator in _everywhere(contents))
    if not count or not _float_operators(contents):
        return None
    return FileForm(
        "sparse",
        f"a float network with {count} sparse constants behind DENSIFY",
        "it computes in float32, with all zeros written out",
        _QUANTIZE,
    )


def _uint8(contents: FileContents) -> FileForm | None:
    names = [
        operator.name
        for graph, operator in _everywhere(contents)
        if operator.name in _ARITHMETIC
        and any(tensor.dtype == "uint8" and tensor.scale for tensor in graph.tensors_at(operator.outputs))
    ]
    if not names:
        return None
    return FileForm(
        "uint8",
        f"a network of uint8, as TensorFlow 1 wrote them: {_counted(names)}",
        "TFLite Micro has no kernels for uint8 any more, so that nothing on a device says what is right",
        CONVERT_INT8,
    )


def _floats(contents: FileContents) -> FileForm | None:
    names = _float_operators(contents, parts_of_tables(contents))
    if not names:
        return None
    if any(o.name in _ENDS for _, o in _everywhere(contents)) and not _float_operators(_as_read(contents)):
        return None
    others = [o.name for g, o in _everywhere(contents) if o.name not in _ENDS and _of_integers(g, o)]
    if not others:
        return FileForm(
            "float32",
            f"a float32 network: {_counted(names)}",
            "sums of floats depend on their order, so no two kernels agree to the bit",
            _QUANTIZE,
        )
    return FileForm(
        "partly float",
        f"a network that computes partly in float32: {_counted(names)}, beside {_counted(others)} of integers",
        "the converter left in float32 what it has no integers for",
        f"write these in other operators, or cut the file before them; {CONVERT_INT8}, which then names them",
    )


def _as_read(contents: FileContents) -> FileContents:
    """In operators that are known here, which have codes in the place of many floats."""
    try:
        require_sound(contents)
        return in_known_operators(with_streams(contents)[0])
    # Whatever operands say that nobody has looked at yet.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return contents


def _of_integers(graph: FileSubgraph, operator: FileOperator) -> bool:
    tensors = list(graph.tensors_at((*operator.inputs, *operator.outputs)))
    return any(t.dtype in _NARROW and t.scale for t in tensors) and not any(t.dtype in _FLOATS for t in tensors)


#: What is told first is what has to be mended first.
_RECOGNIZED: tuple[Callable[[FileContents], FileForm | None], ...] = (
    _compiled,
    _tensorflow,
    _detection,
    _custom,
    _front_end,
    _loop,
    _dynamic_range,
    _sparse,
    _unpacked,
    _uint8,
    shifted_int16,
    shifted_weights,
    _floats,
)
