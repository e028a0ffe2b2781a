"""Files as a form or a program sends them."""

from collections.abc import Sequence

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from incidents.channel import rules
from incidents.channel.transitions import Upload


def read(sent: Sequence[UploadedFile]) -> list[Upload]:
    """Read only when they are few and small enough. Raises Invalid."""
    for file in sent:
        name = rules.safe_name(file.name or "")
        rules.check_size(name, file.size or 0, megabytes=settings.MUSTER_ATTACHMENT_MB)
    rules.check_files([file.size or 0 for file in sent], stored=0)
    return [Upload(name=file.name or "", data=file.read()) for file in sent]
