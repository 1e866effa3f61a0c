"""The commands of ``python -m export``, a file each, and the pages that they print.

For ``export/__main__.py``; recipes and the README print pages of it.
"""
