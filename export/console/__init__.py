"""Lines and tables in a terminal, and as plain text in a pipe.

For whoever prints. Knows nothing of networks.
"""
