"""Where a static file's address comes from."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Names carry a hash of the content and are cached for good. A file that was not collected keeps its
    plain name, so that a page without `manage.py assets`, in a test for one, still renders."""

    manifest_strict = False
