"""Forms that some edition of TFLite Micro, or its kernel library, computes otherwise: found in files, and avoided."""
