"""Exact arithmetic: grids, fixed point, rounding with straight-through gradients. Knows no op."""
