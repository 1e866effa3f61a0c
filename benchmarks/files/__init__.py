"""Files that others made: compiled to plain C, held against TFLite Micro, counted beside it."""
