"""Calls without a row, written as calls that rows stand for: a function for each operator, tables of them, passes."""
