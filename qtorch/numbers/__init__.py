"""Exact arithmetic: grids, fixed point, rounding, and gradients straight through it. Knows no op.

For everyone. What is computed here is what a device computes, to the bit.
"""
