"""Which way a figure is better, by its name: what everybody calls an error or a score."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

__all__ = ["better_by_name"]

#: What a logger puts before and behind a name.
_AROUND = re.compile(r"^(test|val|valid|validation)[_/.]|[_/.](test|step|epoch)$|/dataloader_idx_\d+")
_LOWER = re.compile(
    r"(r?mse|mae|mape|smape|rmsle|msle|nll|bce|ce|loss|error|errors|err|perplexity|cross_?entropy|wer|cer|eer|brier)"
)
_HIGHER = re.compile(
    r"(acc|accuracy|f1|f_?score|auc|auroc|auprc|roc_?auc|average_precision|map|precision|recall|r2|r_?squared|iou|miou|"
    r"jaccard|dice|psnr|ssim|top_?\d+|kappa|mcc)"
)


def better_by_name(name: str) -> Literal["higher", "lower"] | None:
    """Which way; ``None`` where its words say neither, or both.

    Example:
        >>> better_by_name("test_rmse/dataloader_idx_0"), better_by_name("val/Accuracy"), better_by_name("odd")
        ('lower', 'higher', None)
    """
    plain, before = name.lower(), ""
    while plain != before:
        plain, before = _AROUND.sub("", plain), plain
    words = [word for word in re.split(r"[\s_/.\-]+", plain) if word]
    both = [*words, *map("_".join, pairwise(words))]
    lower = any(_LOWER.fullmatch(each) for each in both)
    higher = any(_HIGHER.fullmatch(each) for each in both)
    # "loss" alone says it; of "accuracy_error" nobody knows what was meant.
    return None if lower == higher else "lower" if lower else "higher"
