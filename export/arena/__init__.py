"""What TFLite Micro takes of its arena, by processor and kernel library: computed from a file, without running it."""
