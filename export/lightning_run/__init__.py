"""What an export asks of a trained Lightning run: its real inputs, its pairs, its titles, the test as it was.

For figures, bundles and reports.
"""
