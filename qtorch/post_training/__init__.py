"""Quantization without training: batch norms folded, channels equalized, biases corrected, roundings learned."""

from qtorch.post_training.adaround import LearnedRounding, round_adaptively
from qtorch.post_training.bias_correction import Correction, correct_biases
from qtorch.post_training.equalization import equalize
from qtorch.post_training.fold import fold_batch_norms

__all__ = ["Correction", "LearnedRounding", "correct_biases", "equalize", "fold_batch_norms", "round_adaptively"]
