"""What is given as a model and is none: each is called what it is, with the remedy."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

from export.__main__ import main as export_main
from export.file_kinds import KINDS, c_array, kind_of
from export.graph.build import integer_graph
from export.tflite.writer import write_tflite


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"0")
    return made.getvalue()


def saved(**options: bool) -> bytes:
    made = io.BytesIO()
    torch.save(nn.Linear(2, 2).state_dict(), made, **options)
    return made.getvalue()


def array_file() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


def onnx_file() -> bytes:
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_model(graph, producer_name="x").SerializeToString()


def tar_file() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.tflite"))
    return made.getvalue()


FILES = {
    "empty": lambda: b"",
    "html": lambda: b"\n<!DOCTYPE html><html><body>Not found</body></html>",
    "lfs": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
    "gzip": lambda: gzip.compress(b"x" * 100),
    "compressed": lambda: bz2.compress(b"x" * 100),
    "tar": tar_file,
    "picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(40),
    "program": lambda: b":020000040800F2\r\n:0400000500000000F7\r\n:00000001FF\r\n",
    "gguf": lambda: b"GGUF" + bytes(60),
    "litertlm": lambda: b"LITERTLM" + bytes(60),
    "c_array": lambda: b"/* a model {1, 2} */\nunsigned char m[] = {\n  0x1c, 0x00,\n};\nunsigned int m_len = 2;\n",
    "hex": lambda: b"00000000: 1c00 0000 5446 4c33 1400 2000 1c00 1800  ....TFL3.. .....\n",
    "hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "keras": lambda: zipped("metadata.json", "config.json", "model.weights.h5"),
    "saved_model": lambda: b"\x08\x01\x12\x90\x01\n\x10\x0a\x02",
    "onnx": onnx_file,
    "executorch": lambda: b"\x14\0\0\0ET12" + bytes(50),
    "numpy": array_file,
    "torchscript": lambda: zipped("net/code/net.py", "net/data.pkl"),
    "exported": lambda: zipped("net/archive_format", "net/models/model.json"),
    "npz": lambda: zipped("a.npy", "b.npy"),
    "torch": saved,
    "safetensors": lambda: (2).to_bytes(8, "little") + b"{}" + bytes(10),
    "pickle": lambda: b"\x80\x04N.",
    "zip": lambda: zipped("model.tflite"),
    "text": lambda: b"a,b\n1,2\n",
}


def test_there_is_one_of_each() -> None:
    assert set(FILES) == set(KINDS)
    assert kind_of(saved(_use_new_zipfile_serialization=False)) == KINDS["torch"]
    assert "qtorch quantize NET.pt --data DATA" in KINDS["torch"].as_model
    assert kind_of(bytes(range(1, 60))) is None
    assert kind_of(b"\x7fELF" + bytes(60)) == kind_of(b"MZ" + bytes(60)) == KINDS["program"]
    assert kind_of("some words".encode("utf-16")) == KINDS["text"]
    assert kind_of(zipped("model.tflite")[:-10]) == KINDS["zip"]


@pytest.mark.parametrize("name", FILES)
def test_it_is_called_what_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(FILES[name]())
    for command in ("summary", "verify"):
        assert export_main([command, str(path)]) == 2
        said = capsys.readouterr().err
        assert f"got {KINDS[name].words}. Remedy: {KINDS[name].as_model}" in said
        assert str(path) in said


def test_a_folder_is_called_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty, files, saved_model = (tmp_path / name for name in ("empty", "files", "saved"))
    for folder in (empty, files, saved_model):
        folder.mkdir()
    for name in "dcbaf":
        (files / f"{name}.tflite").touch()
    (saved_model / "saved_model.pb").touch()
    words = {
        empty: "got a folder. Remedy: pass a .tflite file.",
        files: "got a folder. Remedy: pass one of the files in it: a.tflite, b.tflite, c.tflite and 2 more.",
        saved_model: "got a folder with a SavedModel of TensorFlow. Remedy: convert it: tf.lite.TFLiteConverter.from_",
    }
    for command in ("summary", "verify", "profile", "lint"):
        for folder, said in words.items():
            assert export_main([command, str(folder)]) == 2
            assert said in capsys.readouterr().err


def test_a_model_in_a_text_of_c_is_read(network: fx.GraphModule, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = write_tflite(integer_graph(network))
    text = "// {not this}\n#include <cstdint>\nalignas(16) const unsigned char g_model[] = {\n"
    text += "".join(f"0x{byte:02x}, " + ("\n" if i % 12 == 11 else "") for i, byte in enumerate(model))
    text += "};\nconst int g_other[] = {1, 2};\n"
    assert c_array(text.encode()) == model
    (tmp_path / "model.cc").write_text(text)
    (tmp_path / "model.tflite").write_bytes(model)
    shown = []
    for name in ("model.cc", "model.tflite"):
        assert export_main(["summary", str(tmp_path / name)]) == 0
        captured = capsys.readouterr()
        shown.append(captured.out)
        assert ("read as the" in captured.err) == (name == "model.cc")
    assert shown[0] == shown[1]
    for words in (b"int x[] = {300};", b"int x[] = {};", b"int f() { return 1; }", b"{-1}"):
        assert c_array(words) is None
