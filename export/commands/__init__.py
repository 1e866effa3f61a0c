"""Commands of python -m export and the pages that they print."""
