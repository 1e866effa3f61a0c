"""``report.html``: one page that says how good a quantized model is, and where it loses.

In: :class:`~export.html.facts.Facts`. Out: text, complete without network access. For bundles.
"""
