"""What things cost and reach, measured: ``make bench`` writes ``benchmarks/results`` and the documentation's tables."""
