"""The graph of integers, between networks and file formats."""
