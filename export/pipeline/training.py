"""``qtorch fit`` and the other commands of LightningCLI, with the classes that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence

from qtorch.lightning.cli import subcommand

__all__ = ["fit_command", "predict_command", "test_command", "validate_command"]


def fit_command(arguments: Sequence[str]) -> None:
    """Train."""
    subcommand(None, None, None, ["fit", *arguments])


def validate_command(arguments: Sequence[str]) -> None:
    """Figures on the validation data."""
    subcommand(None, None, None, ["validate", *arguments])


def test_command(arguments: Sequence[str]) -> None:
    """Figures on the test data."""
    subcommand(None, None, None, ["test", *arguments])


def predict_command(arguments: Sequence[str]) -> None:
    """Outputs for data of one's own."""
    subcommand(None, None, None, ["predict", *arguments])
