"""TFLite files: written, read, summarized."""
