"""``python -m benchmarks kernels``: counts of every kernel that there is a choice of, and the costs fitted to them."""
