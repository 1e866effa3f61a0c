"""Ratios, not timed tests: ``make bench`` prints them."""
