"""How anomalous a sample is, and how well that separates anomalies from normal samples."""

from __future__ import annotations

import torch
from torch import Tensor

from qtorch.errors import BadData, NotFinite

__all__ = ["anomaly_scores", "area_contributions", "area_under_roc"]


def anomaly_scores(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Mean squared error of each sample: ``[N, ...]`` and the same to ``[N]``."""
    return (reconstruction - x).square().flatten(1).mean(1)


def area_under_roc(scores: Tensor, labels: Tensor) -> float:
    """The probability that an anomaly scores above a normal sample, equal scores counting half.

    ``(R - P (P + 1) / 2) / (P N)`` with R the sum of the P anomalies' ranks among all, 1 for the lowest score and the
    mean rank for equal ones, and N normal samples. Source: Mann and Whitney 1947, "On a Test of Whether one of Two
    Random Variables is Stochastically Larger than the Other"; Hanley and McNeil 1982, "The Meaning and Use of the Area
    under a Receiver Operating Characteristic (ROC) Curve".

    Args:
        scores: ``[N]``, finite.
        labels: ``[N]``, 1 for an anomaly and 0 for a normal sample, at least one of each.

    Raises:
        BadData: labels of another shape than the scores, other labels than 0 and 1, or of one kind only.
        NotFinite: a score is NaN or infinite.
    """
    if scores.shape != labels.shape or scores.ndim != 1:
        raise BadData(
            where="area under the ROC curve",
            expected="one label per score",
            got=f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)}",
            remedy="pass two vectors of the same length",
        )
    kinds = labels.unique().tolist()
    if kinds != [0, 1]:
        raise BadData(
            where="area under the ROC curve",
            expected="labels 0 and 1, at least one of each",
            got=f"labels {kinds}",
            remedy="test on normal and on anomalous samples",
        )
    bad = int((~scores.isfinite()).sum())
    if bad:
        raise NotFinite(
            where="area under the ROC curve",
            expected="finite scores",
            got=f"{bad} that are not",
            remedy="check the reconstruction",
        )
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    # Twice the ranks, which are whole numbers even where equal scores share a mean.
    doubled = (2 * counts.cumsum(0) - counts + 1)[place]
    anomalous = labels == 1
    positive = int(anomalous.sum())
    negative = len(labels) - positive
    return (int(doubled[anomalous].sum()) - positive * (positive + 1)) / (2 * positive * negative)


def area_contributions(scores: Tensor, labels: Tensor) -> Tensor:
    """What each sample contributes to :func:`area_under_roc`: float64 ``[N]`` whose mean is the area.

    An anomaly's part is the share of normal samples below it, a normal sample's the share of anomalies above it, equal
    scores counting half: the area plus that part's difference from it, over the share of samples of its kind.

    Source: DeLong, DeLong and Clarke-Pearson 1988, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves: A Nonparametric Approach".

    Args:
        scores: as there, like the labels.
        labels: as there.
    """
    area, anomalous = area_under_roc(scores, labels), labels == 1
    normal, odd = scores[~anomalous].sort().values, scores[anomalous].sort().values

    def share_below(ordered: Tensor, of: Tensor) -> Tensor:
        low, high = (torch.searchsorted(ordered, of, right=right) for right in (False, True))
        return (low + high).to(torch.float64) / (2 * len(ordered))

    parts = torch.where(anomalous, share_below(normal, scores), 1 - share_below(odd, scores))
    shares = torch.where(anomalous, len(odd) / len(labels), len(normal) / len(labels)).to(torch.float64)
    return area + (parts - area) / shares
