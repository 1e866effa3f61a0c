"""Names and literals of C and C++.

For whoever writes C: :mod:`export.c`, :mod:`export.device`, :mod:`export.interface`.
"""
