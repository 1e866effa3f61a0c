"""A sine wave: angle to its sine."""
