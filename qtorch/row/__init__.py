"""What a row is made of: its cells and the types that stand in them. Knows no particular op.

For rows, for whoever reads them, and for the tests that are made of them.
"""
