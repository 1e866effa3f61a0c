"""``qtorch quantize``: every kind of file that holds a float network, and of data, becomes the bundle of the call."""

from __future__ import annotations

import argparse
import copy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.calls.network import export_network
from export.command_line import main
from export.commands.quantize import quantize_command
from export.float_networks.checkpoint import float_network
from export.float_networks.data import data_of
from export.float_networks.named import options_below
from export.options import ExportOptions
from qtorch.errors import BadCheckpoint, BadConfiguration, BadData, NotFinite
from qtorch.lightning.cli import run_command
from tests.float_networks import Held, Itself, Net, Sum, X, Y

HERE = "tests.float_networks"


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    net = Net(6)
    net(X)
    return net.eval()


def _trained(module: pl.LightningModule, path: Path) -> pl.LightningModule:
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=path.parent,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=80))
    trainer.save_checkpoint(path)
    return module.eval()


def _same(read: nn.Module, expected: nn.Module) -> bool:
    with torch.no_grad():
        return not read.training and torch.equal(read(X), expected(X))


def test_the_command_makes_the_bundle_of_the_call(tmp_path: Path, net: nn.Module) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    np.savez(tmp_path / "data.npz", x=X.numpy(), y=Y.numpy())
    words = [str(tmp_path / "weights.pt"), "--data", str(tmp_path / "data.npz"), "--test", str(tmp_path / "data.npz")]
    words += ["--model", f"{HERE}.Net", "--model.width", "6", "--qat.observer", "percentile:99.9", "--export.c"]
    words += ["--export.equalize", "--out", str(tmp_path / "out"), "--name", "three"]
    assert main(["quantize", *words]) == 0

    config = qtorch.QuantizationConfig(observer="percentile:99.9")
    quantized = qtorch.quantize(net, X, config, equalize=True)
    called = export_network(quantized, name="three", calibration=X, options=ExportOptions(c=True))
    for file in ("three.tflite", "three_model.c", "three_model.h", "three_quantization.h", "three_arena.h"):
        assert (tmp_path / "out" / file).read_bytes() == called.files[file], file
    assert '"mse"' in (tmp_path / "out" / "metrics.json").read_text()


@pytest.mark.parametrize("form", ["whole", "weights", "old", "entry", "wrapped", "compiled", "compiled inside"])
def test_what_torch_saves_is_the_network_that_was_saved(form: str, tmp_path: Path, net: nn.Module) -> None:
    state, path = net.state_dict(), tmp_path / "a file of any name"
    saved: Any = {
        "whole": net,
        "weights": state,
        "old": state,
        "entry": {"epoch": 3, "model_state_dict": state, "optimizer": {"lr": 0.1}},
        "wrapped": {f"module.net.{name}": each for name, each in state.items()},
        "compiled": {f"_orig_mod.{name}": each for name, each in state.items()},
        "compiled inside": {name.replace("body.", "body._orig_mod."): each for name, each in state.items()},
    }[form]
    torch.save(saved, path, _use_new_zipfile_serialization=form != "old")
    read = float_network(path, None if form == "whole" else f"{HERE}:make_net", {} if form == "whole" else {"width": 6})
    assert _same(read.net, net)
    assert any("prefix" in each for each in read.remarks) == (form in ("wrapped", "compiled", "compiled inside"))


def test_safetensors_are_read(tmp_path: Path, net: nn.Module) -> None:
    files = pytest.importorskip("safetensors.torch", reason="pip install safetensors")
    files.save_file(net.state_dict(), tmp_path / "net.safetensors")
    assert _same(float_network(tmp_path / "net.safetensors", f"{HERE}.Net", {"width": 6}).net, net)


@pytest.mark.parametrize("module", [Held, Itself])
def test_a_lightning_checkpoint_of_any_module_is_its_network(module: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = _trained(module(width=5), tmp_path / "run.ckpt")
    network = trained.net if module is Held else trained
    # The width is from the checkpoint's hyperparameters.
    assert _same(float_network(tmp_path / "run.ckpt", f"{HERE}.{module.__name__}", {}).net, network)
    if module is Held:
        alone = float_network(tmp_path / "run.ckpt", f"{HERE}.Net", {"width": 5})
        assert _same(alone.net, network)
        assert any("left out: weight" in each for each in alone.remarks)
    with pytest.raises(BadConfiguration, match=r"the LightningModule that was trained.*Remedy: add --model"):
        float_network(tmp_path / "run.ckpt", None, {})


@pytest.mark.parametrize("kind", ["names its class", "holds an object"])
def test_what_else_a_lightning_checkpoint_holds(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = _trained(Held(width=5), tmp_path / "run.ckpt")
    content = torch.load(tmp_path / "run.ckpt", weights_only=False)
    if kind == "names its class":
        # As LightningCLI writes it of a class that was named on its command line.
        content["hyper_parameters"] |= {"_class_path": f"{HERE}.Held", "_instantiator": "somebody's"}
    else:
        content["hyper_parameters"]["options"] = argparse.Namespace(depth=3)
    torch.save(content, tmp_path / "run.ckpt")
    model = None if kind == "names its class" else f"{HERE}.Held"
    assert _same(float_network(tmp_path / "run.ckpt", model, {}).net, trained.net)


def test_a_module_that_is_a_network_quantizes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    _trained(Itself(width=5), tmp_path / "run.ckpt")
    words = [str(tmp_path / "run.ckpt"), "--model", f"{HERE}.Itself", "--data", f"{HERE}.Rows"]
    assert run_command(lambda: quantize_command([*words, "--out", str(tmp_path / "out")])) == 0
    assert (tmp_path / "out" / "out.tflite").is_file()


def test_a_checkpoint_of_this_project_is_exported_by_its_own_command(fuel_out: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"qtorch export .*fuel.ckpt --out DIR --export.post_training"):
        float_network(fuel_out / "fuel.ckpt", None, {})


def _zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


def _write_foreign(kind: str, path: Path, net: nn.Module) -> None:
    if kind == "a TorchScript archive":
        torch.jit.trace(copy.deepcopy(net), X[:2]).save(str(path))
    elif kind == "a program of torch.export":
        torch.export.save(torch.export.export(copy.deepcopy(net), (X[:2],)), path)
    elif kind == "arrays of NumPy":
        with path.open("wb") as opened:
            np.savez(opened, x=X.numpy())
    elif kind == "a zip archive of notes.txt":
        _zipped(path, "notes.txt")
    elif kind == "a Keras model":
        _zipped(path, "config.json", "metadata.json", "model.weights.h5")
    elif kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(_HEADS[kind])


_HEADS = {
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(80),
    "an ONNX model": b"\x08\x0a\x12\x07pytorch" + bytes(40),
    "an array of NumPy": b"\x93NUMPY\x01\x00" + bytes(40),
    "a pickle that torch.save did not write": b"\x80\x04\x95" + bytes(40),
    "nothing": b"",
    "a file that begins with": b"hello, world",
    "begins with b.": (2).to_bytes(8, "little") + bytes(40),
    "can't be read": b"PK\x03\x04" + bytes(40),
}
_KINDS = (
    *_HEADS, "a TorchScript archive", "a program of torch.export", "arrays of NumPy", "a zip archive of notes.txt",
    "a Keras model", "a folder",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", _KINDS)
def test_other_files_are_refused_by_what_they_are(kind: str, tmp_path: Path, net: nn.Module) -> None:
    _write_foreign(kind, tmp_path / "net.pt", net)
    with pytest.raises(BadCheckpoint, match=f"got .*{kind}.*Remedy: "):
        float_network(tmp_path / "net.pt", f"{HERE}.Net", {})


def test_an_onnx_file_is_told(tmp_path: Path, net: nn.Module) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net")
    with pytest.raises(BadCheckpoint, match="an ONNX model"):
        float_network(tmp_path / "net", None, {})


def test_weights_of_another_network_name_what_is_missing(tmp_path: Path, net: nn.Module) -> None:
    path, state = tmp_path / "w.pt", net.state_dict()

    def refused(weights: dict[str, Tensor], model: str = "Net", **arguments: Any) -> str:
        torch.save(weights, path)
        with pytest.raises((BadCheckpoint, NotFinite)) as caught:
            float_network(path, f"{HERE}.{model}", arguments)
        return str(caught.value)

    renamed = {name.replace("head.", "heads."): each for name, each in state.items()}
    assert "missing: head.weight (nearest: heads.weight)" in refused(renamed, width=6)
    assert "not in the network: extra" in refused(state | {"extra": X}, width=6)
    assert "body.0.weight of shape (6, 3) for (8, 3)" in refused(state)
    assert "NaN or infinite in head.bias" in refused(state | {"head.bias": torch.full((1,), torch.nan)}, width=6)
    torch.save({"epoch": 3}, path)
    with pytest.raises(BadCheckpoint, match="entries epoch"):
        float_network(path, None, {})


@pytest.mark.parametrize(
    ("model", "arguments", "said"),
    [
        ("Nett", {}, rf"write {HERE}.Net\."),
        ("Net", {"widht": 6}, r"write --model.width\."),
        ("make_net", {}, r"add --model.width VALUE"),
        ("fails", {}, "RuntimeError: no such thing"),
        ("arrays", {}, "an nn.Module, got tests.float_networks.arrays gives a tuple"),
        ("Neither", {}, "attribute 'net', or a forward"),
        ("X", {}, "which is a Tensor"),
    ],
)
def test_a_model_that_is_none_is_refused(model: str, arguments: Any, said: str, tmp_path: Path, net: nn.Module) -> None:
    state = (
        net.state_dict()
        if model != "Neither"
        else {f"layers.{name}": each for name, each in Net().state_dict().items()}
    )
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(BadConfiguration, match=said):
        float_network(tmp_path / "w.pt", f"{HERE}.{model}", arguments)


def _data_file(kind: str, folder: Path) -> str:
    path = folder / f"data.{kind.split()[0]}"
    table = torch.cat((X, Y), 1).numpy()
    writers = {
        "npy": lambda: np.save(path, X.numpy()),
        "npz x and y": lambda: np.savez(path, x=X.numpy(), y=Y.numpy()),
        "npz inputs": lambda: np.savez(path, inputs=X.numpy(), targets=Y.numpy()),
        "npz alone": lambda: np.savez(path, anything=X.numpy()),
        "pt tensor": lambda: torch.save(X, path),
        "pt pair": lambda: torch.save((X, Y), path),
        "pt dict": lambda: torch.save({"x": X, "y": Y}, path),
        "csv": lambda: np.savetxt(path, X.numpy(), delimiter=",", fmt="%.9g"),
        "csv headed": lambda: np.savetxt(path, table, delimiter=";", header="a;b;c;target", comments="", fmt="%.9g"),
    }
    writers[kind]()
    return str(path)


_FILES = ("npy", "npz x and y", "npz inputs", "npz alone", "pt tensor", "pt pair", "pt dict", "csv", "csv headed")
_WITHOUT_TARGETS = ("npy", "npz alone", "pt tensor", "csv")


@pytest.mark.parametrize("kind", _FILES)
def test_data_in_a_file_are_its_numbers(kind: str, tmp_path: Path, net: nn.Module) -> None:
    pair = data_of("--data", _data_file(kind, tmp_path), {}, net)
    assert torch.equal(torch.as_tensor(pair.inputs), X)
    assert (pair.targets is None) == (kind in _WITHOUT_TARGETS)
    assert pair.targets is None or torch.equal(pair.targets, Y)


@pytest.mark.parametrize(
    ("named", "arguments", "rows"),
    [("Data", {"count": 120}, 120), ("Rows", {}, 160), ("arrays", {}, 160), ("X", {}, 160)],
)
def test_data_of_a_class_or_function(named: str, arguments: Any, rows: int, net: nn.Module) -> None:
    pair = data_of("--data", f"{HERE}:{named}", arguments, net)
    assert torch.equal(torch.as_tensor(pair.inputs), X[:rows])
    test = data_of("--test", f"{HERE}.{named}", arguments, net)
    assert torch.equal(torch.as_tensor(test.inputs), X[100:] if named == "Data" else X)


def test_several_inputs_are_told_from_targets(tmp_path: Path) -> None:
    left, right = X, X[:, :2]
    np.savez(tmp_path / "named.npz", left=left.numpy(), right=right.numpy(), y=Y.numpy())
    torch.save((left, right), tmp_path / "two.pt")
    torch.save((left, right, Y), tmp_path / "three.pt")
    for name, targets in (("named.npz", Y), ("two.pt", None), ("three.pt", Y)):
        pair = data_of("--data", str(tmp_path / name), {}, Sum())
        assert [tuple(each.shape) for each in pair.inputs] == [(160, 3), (160, 2)]
        assert (pair.targets is None) == (targets is None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"a,b,c\n1,2,3\n1,2\n", "row 3: expected 3 numbers, got 2"),
        (b"1,2,3\n1,x,3\n", "row 2: expected numbers alone, got 'x'"),
        (b"a,b,c\n", "a heading alone"),
        (b"PK\x03\x04", "expected numbers in .npy"),
        (b"\x80\x04\x95garbage", "expected numbers in .npy"),
    ],
)
def test_files_that_hold_no_numbers_are_refused(content: bytes, said: str, tmp_path: Path, net: nn.Module) -> None:
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(BadData, match=said):
        data_of("--data", str(tmp_path / "data"), {}, net)


def test_what_does_not_fit_is_refused_and_nothing_is_written(
    tmp_path: Path, net: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(net, tmp_path / "net.pt")
    np.save(tmp_path / "wide.npy", np.zeros((5, 4), np.float32))
    np.save(tmp_path / "texts.npy", np.array([["a", "b", "c"]]))

    def refused(*words: object) -> str:
        line = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "out"), *map(str, words)]
        assert run_command(lambda: quantize_command(line)) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "(5, 4)" in refused("--data", tmp_path / "wide.npy")
    assert "real numbers" in refused("--data", tmp_path / "texts.npy")
    assert "no such file" in refused("--data", tmp_path / "absent.npy").lower()
    assert "a folder" in refused("--data", tmp_path)
    assert "inputs and targets" in refused("--data", f"{HERE}:X", "--test", f"{HERE}:X")
    np.savez(tmp_path / "short.npz", x=X.numpy(), y=Y.numpy()[:, [0, 0]])
    assert "a target for each output, (160, 1), got (160, 2)" in refused(
        "--data", f"{HERE}:X", "--test", tmp_path / "short.npz"
    )
    assert "leave --model out" in refused("--data", f"{HERE}:X", "--model", f"{HERE}.Net")


@pytest.mark.parametrize("shape", [(160,), (160, 1)])
def test_whole_numbers_are_classes_of_a_network_with_several_outputs(
    shape: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(3, 3)), tmp_path / "net.pt")
    labels = X.argmax(1)
    np.savez(tmp_path / "test.npz", x=X.numpy(), y=labels.numpy().reshape(shape))
    np.save(tmp_path / "bytes.npy", (X * 255).to(torch.uint8).numpy())
    words = [str(tmp_path / "net.pt"), "--test", str(tmp_path / "test.npz"), "--out", str(tmp_path / "out"), "--data"]
    assert main(["quantize", *words, str(tmp_path / "bytes.npy")]) == 0
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert "inputs of type uint8 are taken as the numbers that they are" in said
    np.savez(tmp_path / "test.npz", x=X.numpy(), y=labels.numpy() + 1)
    assert main(["quantize", *words, f"{HERE}:X"]) == 2
    assert "classes from 0 to 2, as the network has 3 outputs, got whole numbers from 1 to 3" in capsys.readouterr().err


def test_layers_are_a_mapping(tmp_path: Path, net: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(net, tmp_path / "net.pt")
    words = [
        "quantize",
        str(tmp_path / "net.pt"),
        "--data",
        f"{HERE}:X",
        "--out",
        str(tmp_path / "out"),
        "--qat.layers",
    ]
    assert main([*words, "{head: {weight_bits: 4}}"]) == 0
    four_bits = qtorch.quantize(net, X, qtorch.QuantizationConfig(layers={"head": {"weight_bits": 4}}))
    called = export_network(four_bits, name="out", calibration=X, options=ExportOptions())
    assert (tmp_path / "out" / "out.tflite").read_bytes() == called.model
    for word in ("[head]", "{1: 2}", "{"):
        with pytest.raises(SystemExit):
            main([*words, word])
        assert "--qat.layers: expected values by name" in capsys.readouterr().err


def test_a_float_format_is_exported_too(tmp_path: Path, net: nn.Module) -> None:
    torch.save(net, tmp_path / "net.pt")
    words = ["quantize", str(tmp_path / "net.pt"), "--data", f"{HERE}:X", "--out", str(tmp_path / "out")]
    assert main([*words, "--export.format", "float32"]) == 0
    called = export_network(net, name="out", calibration=X, options=ExportOptions(format="float32"))
    assert (tmp_path / "out" / "out.tflite").read_bytes() == called.model


def test_help_says_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        quantize_command(["--help"])
    page = capsys.readouterr().out
    assert end.value.code == 0
    for option in ("CHECKPOINT", "--data", "--model.width", "--qat.observer", "--qat.layers", "--export.equalize"):
        assert option in page


def test_options_below_a_name_are_its_arguments() -> None:
    words, below = options_below(
        ["a", "--model", "b", "--model.w=[1, 2]", "--model.r", "1e-3", "--data.k", "-4"], ["model", "data"]
    )
    assert words == ["a", "--model", "b"]
    assert below == {"model": {"w": [1, 2], "r": 0.001}, "data": {"k": -4}}
    for incomplete in (["--model.w"], ["--model.w", "--out"], ["--model.w", "[1"]):
        with pytest.raises(BadConfiguration, match=r"--model\.w"):
            options_below(incomplete, ["model"])
