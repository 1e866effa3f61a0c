"""How anomalous a sample is, and how well that separates anomalies from normal samples."""

from __future__ import annotations

from torch import Tensor

from qtorch.errors import BadData, NotFinite

__all__ = ["anomaly_scores", "area_under_roc"]


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
