"""What a checkpoint holds beside weights, and how its file is written whole: entry, classes, options, random state.

For the callback and for :mod:`qtorch.lightning.checkpoint`, which opens what was written; recipes save by it too.
"""
