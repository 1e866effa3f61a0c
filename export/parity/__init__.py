"""The proof: file, network and engines agree to the bit, or nothing is exported.

In: a graph, a file's bytes and inputs. Out: how many outputs are equal. For bundles and commands.
"""
