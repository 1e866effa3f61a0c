"""All files of an export: made in memory, verified, and written as a whole."""
