"""What to write instead of a call that no row supports, in words and in code.

For :mod:`qtorch.preparation`, when it refuses. Knows no row, and imports no other room.
"""
