"""Keyword data for training: features, split, scaled, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qtorch.errors import BadConfiguration
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary
from recipes.keyword_qat.features import keyword_features
from recipes.keyword_qat.sounds import SOUNDS, synthesize
from recipes.keyword_qat.speech import find_recordings, found_words, read_wav
from recipes.stratified import stratified_split

__all__ = ["KeywordData"]

#: Recordings read before they become features: clips of a whole data set would take gigabytes.
_BATCH = 256


class KeywordData(ArrayDataModule):
    """Log-mel energies ``[N, 1, 49, 10]``, standardized on the training part, to the word's index.

    Args:
        speech_commands: a folder in that data set's layout; ``None`` for synthetic sounds, 60 % training, 20 %
            validation and 20 % test of each.
        words: the classes, in the order of the network's outputs; ``None`` for all there are.
        batch_size: clips per batch.
        clips: synthetic ones per sound.
        seed: of the synthetic sounds and their split; independent of the seed of training.
    """

    def __init__(
        self,
        speech_commands: str | None = None,
        words: tuple[str, ...] | None = None,
        batch_size: int = 64,
        clips: int = 400,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        if clips < 5:
            raise BadConfiguration(where="data.clips", expected="at least 5", got=f"{clips}", remedy="try 400")
        self.speech_commands, self.words, self.clips, self.seed = speech_commands, words, clips, seed
        self.save_hyperparameters()

    def load(self) -> Arrays:
        """Read or synthesize, compute features, split, and scale."""
        folder = None if self.speech_commands is None else Path(self.speech_commands)
        present = SOUNDS if folder is None else found_words(folder)
        words = tuple(self.words) if self.words is not None else present
        if len(set(words)) < max(2, len(words)):
            raise BadConfiguration(
                where="data.words",
                expected="at least two different words",
                got=", ".join(words) or "none",
                remedy=f"choose among {', '.join(present) or 'the folders of recordings, once there are some'}",
            )
        if folder is None:
            features, labels, parts = self._synthetic(words)
        else:
            features, labels, parts = _recorded(folder, words)
        train = features[parts[0]]
        mean, deviation = float(train.mean()), float(train.std())
        scaled = (features - mean) / deviation
        train_part, validation, test = ((scaled[at], labels[at]) for at in parts)
        interface = Interface(
            (Feature("log-mel energy", "", mean, deviation),), tuple(Feature(f"{word} probability") for word in words)
        )
        source = "synthetic" if folder is None else folder.resolve().name
        summary = DataSummary(source, len(labels), 0, len(parts[0]), len(parts[2]))
        return Arrays(train_part, validation, test, interface, summary)

    def _synthetic(self, words: tuple[str, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        unknown = [word for word in words if word not in SOUNDS]
        if unknown:
            raise BadConfiguration(
                where="data.words",
                expected=f"among {', '.join(SOUNDS)}",
                got=", ".join(unknown),
                remedy="correct them, or pass --data.speech_commands",
            )
        features = torch.cat(
            [
                keyword_features(torch.from_numpy(batch))
                for word in words
                for batch in synthesize(word, self.clips, self.seed)
            ]
        )
        labels = torch.arange(len(words)).repeat_interleave(self.clips)
        return features, labels, stratified_split(labels, self.seed)


def _recorded(folder: Path, words: tuple[str, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    recordings = find_recordings(folder, words)
    batches = [recordings[at : at + _BATCH] for at in range(0, len(recordings), _BATCH)]
    clips = (np.stack([read_wav(recording.path) for recording in batch]) for batch in batches)
    features = torch.cat([keyword_features(torch.from_numpy(each)) for each in clips])
    labels = torch.tensor([recording.label for recording in recordings])
    parts = tuple(
        torch.tensor([index for index, recording in enumerate(recordings) if recording.part == part])
        for part in ("train", "validation", "test")
    )
    return features, labels, parts
