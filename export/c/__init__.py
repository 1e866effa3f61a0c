"""Plain C of a graph: its kernels, its memory, its sources, its proof."""
