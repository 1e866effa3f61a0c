"""What a row of an op is made of: its cells and the types that stand in them."""
