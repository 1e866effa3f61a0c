"""Anomalies: a machine's sound to its reconstruction, which fails where the machine does not sound as it should."""
