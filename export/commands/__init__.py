"""The commands of ``python -m export``, a file each, and the pages that they print.

For ``export/__main__.py``; recipes print pages of it.
"""
