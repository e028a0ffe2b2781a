from django import forms

from core.errors import MusterError


def show_refusal(error: MusterError, form: forms.Form) -> None:
    """Put what a transition refused at the fields that it names, and the rest on top of the form."""
    for name, sentences in error.fields.items():
        for sentence in sentences:
            form.add_error(name if name in form.fields else None, sentence)
    if not error.fields:
        form.add_error(None, error.message)
