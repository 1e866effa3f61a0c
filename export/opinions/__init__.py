"""Second opinions: what other engines and converters make of the same network.

For ``python -m export compare``. Needs optional packages.
"""
