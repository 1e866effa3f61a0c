"""Forms of export beside .tflite and C, found by themselves: a folder each, and its name is the option's name.

In: a :class:`~export.graph.ir.Graph`. Out: files, who computes what they say, figures. The rest of an export loops over
:data:`FORMS` and knows none of them.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from export.forms.form import Form

__all__ = ["FORMS"]


def _discover() -> dict[str, Form]:
    forms: dict[str, Form] = {}
    for folder in sorted(module.name for module in iter_modules(__path__) if module.ispkg):
        form = getattr(import_module(f"{__name__}.{folder}.form"), "FORM", None)
        if not isinstance(form, Form) or form.option != folder:
            raise ImportError(
                f"export/forms/{folder}/form.py: expected FORM, a Form whose option is {folder!r}, got {form!r:.80}. "
                "Remedy: one folder, one form, one option."
            )
        forms[form.option] = form
    return forms


#: Every form by its option.
FORMS: dict[str, Form] = _discover()
