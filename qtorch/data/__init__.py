"""Data of a task before it trains: split by class, searched for duplicates, sounds turned into features.

Functions of tensors that recipes share; what loads data for Lightning is :mod:`qtorch.lightning.data`.
"""
