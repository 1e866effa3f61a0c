"""Arithmetic, matching and C of ops that are alike, a family a file: convolutions, poolings, softmaxes.

For rows first, in :mod:`qtorch.ops`; captures, layers and passes take their sums and paddings from it too.
"""
