"""Names and literals of C and C++."""
