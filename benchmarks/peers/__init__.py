"""What other libraries do, each module for the interpreter of one environment; run by :mod:`benchmarks.workers`."""
