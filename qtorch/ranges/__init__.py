"""Observers: how the range of a tensor is measured, searched or learned.

In: values. Out: a lowest and a highest number. For the quantizers of :mod:`qtorch.network`.
"""
