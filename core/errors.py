"""Errors that a person or a program may be shown. Views and the API turn them into answers."""


class MusterError(Exception):
    """Something was refused. `message` is a sentence for people; `code` is for programs; `status` is the HTTP status."""

    status = 400
    code = "invalid"

    def __init__(
        self, message: str, *, code: str | None = None, fields: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.fields = fields or {}

    @property
    def in_full(self) -> str:
        """The message with what the fields add to it, for where there is one line only."""
        texts = [self.message, *(text for texts in self.fields.values() for text in texts)]
        return " ".join(dict.fromkeys(texts))


class Invalid(MusterError):
    """The input is wrong; `fields` says where."""


class NotAllowed(MusterError):
    """This person may not do this. The message says who may."""

    status = 403
    code = "not_allowed"


class Missing(MusterError):
    status = 404
    code = "not_found"


class Refused(MusterError):
    """The thing is in a state that does not admit this move. The message says what happened before."""

    status = 409
    code = "conflict"


class Unavailable(MusterError):
    """A part that is needed does not answer right now; trying again is right."""

    status = 503
    code = "unavailable"
