"""Lines and tables of a terminal."""
