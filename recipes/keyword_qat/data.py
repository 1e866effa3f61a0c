"""Keyword data for training: features, split, scaled, in memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qtorch.bounds import require_seed, require_whole
from qtorch.data.duplicates import digest, duplicates
from qtorch.data.stratified import stratified_split
from qtorch.errors import BadConfiguration, BadData
from qtorch.features import Feature, Interface
from qtorch.lightning.data import ArrayDataModule, Arrays, DataSummary

from .features import RATE, keyword_features
from .sounds import SOUNDS, synthesize
from .speech import Part, Recording, find_recordings, found_words, one_second, read_samples

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
        require_whole("data.clips", clips, 5, 100_000, "try 400")
        require_seed("data.seed", seed)
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
            findings: tuple[str, ...] = ()
        else:
            features, labels, parts, findings = _recorded(folder, words)
        train = features[parts[0]]
        mean, deviation = float(train.mean()), float(train.std())
        scaled = (features - mean) / deviation
        train_part, validation, test = ((scaled[at], labels[at]) for at in parts)
        interface = Interface(
            (Feature("log-mel energy", "", mean, deviation),), tuple(Feature(f"{word} probability") for word in words)
        )
        source = "synthetic" if folder is None else folder.resolve().name
        summary = DataSummary(source, len(labels), 0, len(parts[0]), len(parts[2]), findings)
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


def _recorded(folder: Path, words: tuple[str, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[str, ...]]:
    recordings = find_recordings(folder, words)
    digests: list[bytes] = []
    silent, longer = Counter[str](), Counter[str]()

    def clip(recording: Recording) -> np.ndarray:
        samples = read_samples(recording.path)
        digests.append(digest(samples))
        word = words[recording.label]
        silent[word] += bool(np.ptp(samples) == 0)
        longer[word] += len(samples) > RATE
        return one_second(samples)

    batches = [recordings[at : at + _BATCH] for at in range(0, len(recordings), _BATCH)]
    clips = (np.stack([clip(recording) for recording in batch]) for batch in batches)
    features = torch.cat([keyword_features(torch.from_numpy(each)) for each in clips])
    sizes = Counter(words[recording.label] for recording in recordings)
    for word, count in silent.items():
        if count == sizes[word]:
            raise BadData(
                where=str(folder / word), expected="a sound", got=f"silence in all {count} recordings",
                remedy="see to the microphone, and record the word again",
            )  # fmt: skip
    findings = (
        *_counted("hold no sound at all, as of a dead microphone", silent),
        *_counted("are longer than a second, of which only the first is used", longer),
        *_left_out(folder, words),
    )
    order: dict[Part, str] = {"train": "training", "validation": "validation", "test": "test"}
    by_part = {
        title: [(each, r.label) for each, r in zip(digests, recordings, strict=True) if r.part == part]
        for part, title in order.items()
    }
    findings += duplicates({t: ([d for d, _ in pairs], [k for _, k in pairs]) for t, pairs in by_part.items()}, words)
    labels = torch.tensor([recording.label for recording in recordings])
    parts = tuple(
        torch.tensor([index for index, recording in enumerate(recordings) if recording.part == part]) for part in order
    )
    return features, labels, parts, findings


def _counted(what: str, counts: Counter[str]) -> tuple[str, ...]:
    told = [f"{count} of {word}" for word, count in counts.items() if count]
    return (f"{counts.total()} recordings {what} ({', '.join(told)})",) if told else ()


def _left_out(folder: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """A finding about files that are no recordings by their name, such as an MP3."""
    counts = Counter(
        word
        for word in words
        for path in (folder / word).iterdir()
        if path.name[0] != "." and path.suffix.lower() != ".wav"
    )
    told = ", ".join(f"{count} of {word}" for word, count in counts.items())
    return (f"files that do not end in .wav were left out ({told})",) if told else ()
