"""Files as other converters write them, made with the schema alone: what this project's own writer never makes."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["FOREIGN", "foreign_model"]


def foreign_model(model: Any) -> bytes:
    """The bytes of a schema object."""
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _table(kind: str, **fields: Any) -> Any:
    made = getattr(schema, f"{kind}T")()
    for name, value in fields.items():
        assert hasattr(made, name), (kind, name)
        setattr(made, name, value)
    return made


def _tensor(name: str, shape: list[int] | None, kind: str = "FLOAT32", buffer: int = 0, **more: Any) -> Any:
    dtype = getattr(schema.TensorType, kind)
    return _table("Tensor", name=name, shape=shape, type=dtype, buffer=buffer, hasRank=shape is not None, **more)


def _code(name: str, version: int = 1, custom: str | None = None) -> Any:
    code = getattr(schema.BuiltinOperator, name)
    return _table(
        "OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version, customCode=custom
    )


def _op(code: int, inputs: list[int], outputs: list[int], **more: Any) -> Any:
    return _table("Operator", opcodeIndex=code, inputs=inputs, outputs=outputs, **more)


def _model(codes: list[Any], graphs: list[Any], buffers: list[bytes], **more: Any) -> Any:
    stored = [_table("Buffer", data=np.frombuffer(data, np.uint8) if data else None) for data in (b"", *buffers)]
    return _table("Model", version=3, operatorCodes=codes, subgraphs=graphs, buffers=stored, **more)


def float_with_dynamic_shapes() -> Any:
    """A dense layer of unknown batch size, signatures, metadata of three kinds."""
    graph = _table(
        "SubGraph", name="main", inputs=[0], outputs=[3],
        tensors=[
            _tensor("serving_default_x:0", [1, 4], shapeSignature=[-1, 4]),
            _tensor("dense/kernel", [2, 4], buffer=1), _tensor("dense/bias", [2], buffer=2),
            _tensor("out", [1, 2], shapeSignature=[-1, 2]),
        ],
        operators=[_op(0, [0, 1, 2], [3], builtinOptionsType=schema.BuiltinOptions.FullyConnectedOptions,
                       builtinOptions=schema.FullyConnectedOptionsT())],
    )  # fmt: skip
    signature = _table(
        "SignatureDef", signatureKey="serving_default", subgraphIndex=0,
        inputs=[_table("TensorMap", name="x", tensorIndex=0)], outputs=[_table("TensorMap", name="y", tensorIndex=3)],
    )  # fmt: skip
    buffers = [np.ones(8, "<f4").tobytes(), np.ones(2, "<f4").tobytes(), b'{"a": [1]}', b"1.5.0\0\0\0", b"\xff\x00\x01"]
    metadata = [_table("Metadata", name=f"entry{i}", buffer=3 + i) for i in range(3)]
    return _model(
        [_code("FULLY_CONNECTED")], [graph], buffers,
        signatureDefs=[signature], metadata=metadata, description="made elsewhere",
    )  # fmt: skip


def custom_and_unknown_ops() -> Any:
    """A custom op with options, one left-out input, an operator newer than the schema, no names, no rank."""
    newer = _table("OperatorCode", builtinCode=9999, deprecatedBuiltinCode=127, version=7)
    graph = _table(
        "SubGraph", inputs=[0], outputs=[2],
        tensors=[_tensor("in\x1b[31m", [1, 3]), _tensor("", None), _tensor("state", [2], isVariable=True)],
        operators=[_op(0, [0, -1], [1], customOptions=np.arange(5, dtype=np.uint8)), _op(1, [1], [2])],
    )  # fmt: skip
    return _model([_code("CUSTOM", 3, "Audio\tFrontend"), newer], [graph], [])


def two_subgraphs() -> Any:
    """WHILE's two bodies, strings, bools, sparse types, quantization per channel with a scale of NaN."""
    quantization = _table(
        "QuantizationParameters", scale=np.array([0.5, np.nan], "<f4"), zeroPoint=np.array([0, 0], "<i8"),
        quantizedDimension=1,
    )  # fmt: skip
    first = _table(
        "SubGraph", name="main", inputs=[0], outputs=[1],
        tensors=[_tensor("a", [], "BOOL"), _tensor("b", [3, 2], "UINT8", 1, quantization=quantization)],
        operators=[_op(0, [0], [1], builtinOptionsType=schema.BuiltinOptions.WhileOptions,
                       builtinOptions=_table("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=1))],
    )  # fmt: skip
    second = _table(
        "SubGraph", name="body", inputs=[0], outputs=[0], tensors=[_tensor("s", [1], "STRING")], operators=[]
    )
    return _model([_code("WHILE")], [first, second], [bytes(6)])


def int8_layers() -> Any:
    """Convolutions of three kinds and a dense layer without its bias, as TensorFlow's converter writes them.

    The input has 1x6x8x3; 5 convolutions of 3x3, stride 2; depthwise 3x3; 2 transposed of 2x2, stride 2; 4 dense.
    """
    quantization = _table("QuantizationParameters", scale=np.array([0.5], "<f4"), zeroPoint=np.array([0], "<i8"))
    shapes = {
        "x": [1, 6, 8, 3], "conv/w": [5, 3, 3, 3], "conv/b": [5], "conv": [1, 3, 4, 5], "depth/w": [1, 3, 3, 5],
        "depth/b": [5], "depth": [1, 3, 4, 5], "up/shape": [4], "up/w": [2, 2, 2, 5], "up": [1, 6, 8, 2],
        "dense/w": [4, 96], "y": [1, 4],
    }  # fmt: skip
    kinds = {"conv/b": "INT32", "depth/b": "INT32", "up/shape": "INT32"}
    constants = [name for name in shapes if "/" in name]
    tensors = [
        _tensor(name, shape, kinds.get(name, "INT8"), constants.index(name) + 1 if name in constants else 0,
                quantization=quantization)
        for name, shape in shapes.items()
    ]  # fmt: skip
    at = {name: index for index, name in enumerate(shapes)}

    def op(code: int, output: str, *inputs: str) -> Any:
        return _op(code, [at[name] if name else -1 for name in inputs], [at[output]])

    graph = _table(
        "SubGraph", name="main", inputs=[at["x"]], outputs=[at["y"]], tensors=tensors,
        operators=[
            op(0, "conv", "x", "conv/w", "conv/b"), op(1, "depth", "conv", "depth/w", "depth/b"),
            op(2, "up", "up/shape", "up/w", "depth"), op(3, "y", "up", "dense/w", ""),
        ],
    )  # fmt: skip
    codes = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
    bytes_of = {"INT32": 4, "INT8": 1}
    buffers = [bytes(int(np.prod(shapes[name])) * bytes_of[kinds.get(name, "INT8")]) for name in constants]
    return _model([_code(code) for code in codes], [graph], buffers)


FOREIGN = {
    made.__name__: made for made in (float_with_dynamic_shapes, custom_and_unknown_ops, two_subgraphs, int8_layers)
}
