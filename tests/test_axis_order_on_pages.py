"""What an author of firmware reads beside the headers says in which order inputs and outputs lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.__main__ import main as export_main
from export.boards import BOARDS
from export.device.firmware_project import firmware_project
from export.graph.build import integer_graph
from export.interface.tensor_layout import tensor_layouts
from qtorch.lightning.callback import QuantizationAwareTraining
from tests.tflm_projects import TFLM_BOARDS, bundle_files

_ORDER = "time, channels; PyTorch's (3, 16) transposed"


class _Recordings(pl.LightningModule):
    """A network on recordings, trained on ``[3][16]``."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Conv1d(3, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
        self.example_input_array = torch.zeros(1, 3, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self(batch[0]), batch[1])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class _Data(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def _loader(self) -> DataLoader[Any]:
        x = torch.randn(64, 3, 16, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, x.mean(2)[:, :2]), batch_size=32)

    train_dataloader = test_dataloader = _loader


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("recordings") / "r.ckpt"
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[QuantizationAwareTraining(start=0.5)], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(_Recordings(), datamodule=_Data())
    trainer.save_checkpoint(path)
    return path


def _texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.suffix in {".h", ".md", ".ino", ".html"}
    }


@pytest.mark.parametrize("options", [["--export.c", "--export.target", "uno"], []], ids=["uno", "host"])
def test_an_export_says_it_everywhere(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    out, project = tmp_path / "out", tmp_path / "project"
    given = [str(checkpoint), "--out", str(out), "--name", "it", "--export.firmware", str(project), *options]
    assert export_main(given) == 0
    printed = capsys.readouterr().out
    assert f"input: int8_t in[16][3]: {_ORDER}; scale " in printed
    assert "output: int8_t out[2]: features; in the order of PyTorch's (2,); scale " in printed
    written = _texts(out) | {f"project/{path}": text for path, text in _texts(project).items()}
    readers = ["it_quantization.h", "it_model_data.h", "report.html", "project/README.md"]
    readers += ["it_model.h", "project/examples/It/It.ino"] if options else ["project/src/tflm_inference.h"]
    for file in readers:
        assert _ORDER.replace("'", "&#x27;" if file.endswith("html") else "'") in written[file], file
    # Scale and zero point too, the very ones of the file.
    (tensor,) = [each for each in json.loads((out / "metrics.json").read_text())["tensors"] if each["side"] == "input"]
    assert (tensor["shape"], tensor["network_shape"]) == ([16, 3], [3, 16])
    for file in (file for file in readers if not file.endswith((".ino", "inference.h"))):
        assert f"{np.float32(tensor['scale']):.6g}"[:6] in written[file], file
        assert f"zero point {tensor['zero_point']}" in written[file] or file.endswith("html"), file
    lines = {file: [line for line in written[file].splitlines() if "samples[t][c]" in line] for file in readers}
    assert all(lines[file] for file in ("it_quantization.h", "report.html", "project/README.md"))


@pytest.mark.parametrize("kind", ["float32", "dynamic_range"])
def test_a_float_export_says_it_too(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    out = tmp_path / "out"
    assert export_main([str(checkpoint), "--out", str(out), "--name", "it", "--export.format", kind]) == 0
    words = f"float in[16][3]: {_ORDER}"
    assert words in capsys.readouterr().out
    header = (out / "it_model_data.h").read_text()
    assert words in header
    assert "in[IT_INPUT_INDEX(t, c)] = samples[t][c];" in header
    assert words.partition(":")[0] in (out / "report.html").read_text()


@pytest.mark.parametrize("board", TFLM_BOARDS)
def test_every_project_says_it(board: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 16)
    network = qtorch.prepare(nn.Sequential(nn.Conv1d(3, 2, 5), nn.Flatten(), nn.Linear(24, 2)), x[:1]).eval()
    qtorch.calibrate(network, [x])
    layouts = tensor_layouts(integer_graph(network))
    made = {path: text.decode() for path, text in firmware_project("m", bundle_files(), BOARDS[board], layouts).items()}
    assert f"int8_t in[16][3]: {_ORDER}; scale" in made["README.md"]
    assert "physical[M_INPUT_INDEX(t, c)] = samples[t][c];" in made["README.md"]
    assert "physical[M_INPUT_INDEX(t, c)] = samples[c][t];" in made["README.md"]
    for path, text in made.items():
        if path.endswith((".ino", "main.cpp", "tflm_inference.h", "_firmware.h")) and not path.startswith("main/"):
            assert f"// Input, [16][3], last index fastest: {_ORDER}." in text, path
