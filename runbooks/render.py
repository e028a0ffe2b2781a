"""A runbook's Markdown as HTML: read by markdown-it, and once more by nh3, which lets nothing else pass.

Raw HTML stays text. There are no images, so that reading a runbook asks no other server for anything.
"""

from functools import lru_cache

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

_TAGS = {
    "p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "a", "h4", "h5", "h6", "hr", "table", "thead",
    "tbody", "tr", "th", "td", "s",
}  # fmt: skip
_CLASSES = {"code": {"mono"}, "pre": {"code", "mono"}, "table": {"m-table"}}


def _heading(tokens: list[Token]) -> None:
    """Headings inside a section lie below the page's own."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(max(int(token.tag[1]), 4), 6)}"


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False})
    reader.enable(["table", "strikethrough"])
    reader.disable(["image", "html_block", "html_inline", "reference"])
    reader.add_render_rule(
        "code_inline",
        lambda self, tokens, at, options, env: f'<code class="mono">{escape(tokens[at].content)}</code>',
    )
    for kind in ("fence", "code_block"):
        reader.add_render_rule(
            kind,
            lambda self, tokens, at, options, env: (
                f'<pre class="code mono"><code>{escape(tokens[at].content)}</code></pre>\n'
            ),
        )
    reader.add_render_rule("table_open", lambda self, tokens, at, options, env: '<table class="m-table">\n')
    return reader


_MARKDOWN = _reader()


@lru_cache(maxsize=512)
def html(text: str) -> SafeString:
    tokens = _MARKDOWN.parse(text)
    _heading(tokens)
    clean = nh3.clean(
        _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}),
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noreferrer noopener",
    )
    return mark_safe(clean.strip())  # noqa: S308  cleaned in the line before
