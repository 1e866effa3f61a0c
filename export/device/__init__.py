"""What firmware is built from: headers, test vectors and projects.

In: a graph and its files. Out: text of C and C++, by file name.
"""
