"""How rows say their C: strides, tables, sums and movements that several ops' C cells share.

For rows and families, and for :mod:`export.c`, which turns what they say into text. Training never opens this room.
"""
