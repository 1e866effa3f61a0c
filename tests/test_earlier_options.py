"""An option of earlier versions goes on working, wherever it stands, and says once that it is to be removed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from qtorch import Mode
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.cli import subcommand
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.small_task import SmallData, SmallModule, small_trainer

CONFIG = Path(__file__).parents[1] / "recipes" / "sine_qat" / "config.yaml"
SAID = "exact_after: every quantized step computes the device's own integers now.*Remedy: remove the option"
QUIET = ["--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false", "--data.samples", "64"]


class KeptSine(Sine):
    """Leaves the first weight of the latest fit behind."""

    first_weight: torch.Tensor

    def on_fit_end(self) -> None:
        KeptSine.first_weight = next(self.net.parameters()).detach().clone()


@pytest.mark.parametrize("value", [None, 7, 0.9])
def test_in_python_it_warns_where_it_is_written(value: float | None) -> None:
    with pytest.warns(DeprecationWarning, match=SAID) as said:
        qat = QuantizationAwareTraining(start=0.5, exact_after=value, observer="mse")
    assert [warning.filename for warning in said] == [__file__]
    assert "exact_after" not in qat.options()
    assert qat.chosen == {"observer"}


def test_without_a_name_it_is_taken_for_nothing_else() -> None:
    with pytest.raises(TypeError, match="positional"):
        QuantizationAwareTraining(0.6, None, 0.8, 0.9)  # type: ignore[misc]


@pytest.mark.parametrize("given", ["a file", "the command line"])
def test_a_run_that_gives_it_is_told_once_and_is_the_run_without_it(given: str, tmp_path: Path) -> None:
    def fitted(config: Path, *more: str) -> tuple[list[str], torch.Tensor]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            subcommand(KeptSine, SineData, config, ["fit", *QUIET, *more])
        return [str(each.message) for each in said if "exact_after" in str(each.message)], KeptSine.first_weight

    old = tmp_path / "old.yaml"
    old.write_text(CONFIG.read_text() + "  exact_after: null\n")
    told, now = fitted(old) if given == "a file" else fitted(CONFIG, "--qat.exact_after", "0.9")
    assert len(told) == 1
    silent, expected = fitted(CONFIG)
    assert silent == []
    assert now.equal(expected)


@pytest.mark.parametrize("page", ["--help.qat", "--help", "--print_config"])
def test_no_page_offers_it(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        subcommand(Sine, SineData, CONFIG, ["fit", page])
    shown = capsys.readouterr().out
    assert "start" in shown
    assert "exact_after" not in shown


@pytest.mark.parametrize("mode", ["fake", "exact"])
@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*", "ignore:.*many workers.*")
def test_a_checkpoint_of_before_opens_and_is_gone_on_from(mode: str, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path)
    small_trainer(QuantizationAwareTraining(start=1), keep, enable_checkpointing=True, max_epochs=2).fit(
        SmallModule(), datamodule=SmallData()
    )
    checkpoint = torch.load(keep.best_model_path, weights_only=True)
    checkpoint["qtorch"]["qat"]["exact_after"] = 0.9
    states = [checkpoint["qtorch"]["state"], checkpoint["callbacks"]["QuantizationAwareTraining"]]
    for state in states:
        assert state["mode"] == "quantized"
        state["mode"] = mode
    old = tmp_path / "old.ckpt"
    torch.save(checkpoint, old)
    run = load_run(old)
    assert run.qat.mode is Mode.QUANTIZED
    again = SmallModule()
    small_trainer(QuantizationAwareTraining(start=1), max_epochs=3).fit(again, datamodule=SmallData(), ckpt_path=old)
    assert not again.net[0].weight.equal(run.module.net.state_dict()["0.weight"])  # type: ignore[operator]
