"""A file that names its weights' hash is refused with any other weights, wherever it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import fx

from export.__main__ import main
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.tflite.metadata import NAME, ModelMetadata
from export.tflite.model_file import model_metadata
from export.tflite.writer import write_tflite
from qtorch.features import Feature, Interface

INTERFACE = Interface((Feature("in"),), (Feature("out"),))


def file_of(graph: Graph) -> tuple[bytes, ModelMetadata]:
    about = model_metadata("net", "1", graph, INTERFACE, False)
    return write_tflite(graph, metadata={NAME: about.json(0)}), about


@pytest.mark.parametrize("command", ["summary", "profile", "verify"])
def test_every_byte_of_the_weights(
    network: fx.GraphModule, tmp_path: Path, command: str, capsys: pytest.CaptureFixture
) -> None:
    graph = integer_graph(network)
    model, about = file_of(graph)
    path = tmp_path / "net.tflite"
    constants = [value.data.tobytes() for value in graph.constants().values() if value.data is not None]
    bytes_of = [model.index(data) + i for data in constants for i in range(len(data))]
    assert len(bytes_of) == 6 * 3 + 4 * 6 + 4 + 4 * (6 + 4 + 1)
    for at in bytes_of if command == "summary" else bytes_of[::17]:
        changed = bytearray(model)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        assert main([command, str(path)]) == 2, at
        said = capsys.readouterr().err
        assert f"SHA-256 {about.weights_sha256}, got weights with SHA-256" in said
        assert str(path) in said


def test_the_hash_itself(network: fx.GraphModule, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model, about = file_of(integer_graph(network))
    path = tmp_path / "net.tflite"
    path.write_bytes(model)
    assert main(["summary", str(path)]) == 0
    at = model.index(about.weights_sha256.encode())
    for where, words in ((at, "SHA-256 "), (at - 5, "metadata 'qtorch'"), (model.index(b'{"format"'), "metadata")):
        changed = bytearray(model)
        changed[where] ^= 1
        path.write_bytes(changed)
        assert main(["summary", str(path)]) == 2
        assert words in capsys.readouterr().err


def test_a_file_without_a_hash_says_nothing(network: fx.GraphModule, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    for metadata in ({}, {"other": b"\xff\x00"}, {"other": b'{"weights_sha256": "0"}'}):
        path.write_bytes(write_tflite(integer_graph(network), metadata=metadata))
        assert main(["summary", str(path)]) == 0
