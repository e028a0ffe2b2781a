"""A person's words as HTML: a small Markdown, read once by markdown-it and once more by nh3, which lets nothing else pass.

Raw HTML stays text. There are no images, so that reading a message asks no other server for anything, and no headings or
rules, so that a line of a log is what it was. A backslash stays too.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import nh3
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from incidents.channel import rules

_TAGS = {"p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "a", "span"}
_CLASSES = {"code": {"mono"}, "pre": {"code", "mono"}, "span": {"mention"}}
_PLAIN = re.compile(r"^[^`*_\[\]<>&@~\n\\]*$")
_LIST = re.compile(r"\s*(?:[-+>]|\d{1,9}[.)])")

_PROTOCOL = re.compile(r"(?:^|[^A-Za-z0-9])(https?)$")
_ADDRESS = re.compile(r"://[^\s<>\"`]+")
_USERNAME = re.compile(r"@([A-Za-z0-9_][\w.+-]*)")


def _bare_address(state: StateInline, silent: bool) -> bool:
    """http://… and https://… without any marks become links. An underscore inside is no emphasis."""
    if state.src[state.pos] != ":" or state.linkLevel > 0:
        return False
    protocol = _PROTOCOL.search(state.src[max(0, state.pos - 6) : state.pos])
    rest = _ADDRESS.match(state.src, state.pos, state.posMax)
    if protocol is None or rest is None:
        return False
    tail = rest[0].rstrip(".,;:!?'*_")
    while tail.endswith(")") and tail.count(")") > tail.count("("):
        tail = tail[:-1].rstrip(".,;:!?'*_")
    href = state.md.normalizeLink(protocol[1] + tail)
    if len(tail) <= 3 or not state.md.validateLink(href):
        return False
    if not silent:
        if not state.pending.endswith(protocol[1]):
            return False
        state.pending = state.pending[: -len(protocol[1])]
        token = state.push("link_open", "a", 1)
        token.attrs = {"href": href}
        state.push("text", "", 0).content = protocol[1] + tail
        state.push("link_close", "a", -1)
    state.pos += len(tail)
    return True


def _mention(state: StateInline, silent: bool) -> bool:
    """@ines, where it is the name of somebody (`env["people"]`) and no part of a mail address."""
    pos = state.pos
    if state.src[pos] != "@" or state.linkLevel > 0 or (pos and re.match(r"[\w.@/+-]", state.src[pos - 1])):
        return False
    found = _USERNAME.match(state.src, pos, state.posMax)
    if found is None:
        return False
    name = found[1].rstrip(".+-")
    people = state.env.get("people", {})
    if not silent:
        if "named" in state.env:
            state.env["named"].append(name.lower())
        if name.lower() not in people:
            return False
        token = state.push("mention", "", 0)
        token.content, token.meta = name, {"person": people[name.lower()]}
    elif name.lower() not in people:
        return False
    state.pos += 1 + len(name)
    return True


def _render_mention(renderer: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    person = int(tokens[at].meta["person"])
    return f'<span class="mention" data-person="{person}">@{escape(tokens[at].content)}</span>'


def _render_break(renderer: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return "<br>"


def _render_code(renderer: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'<code class="mono">{escape(tokens[at].content)}</code>'


def _render_block(renderer: RendererHTML, tokens: list[Token], at: int, options: Any, env: Any) -> str:
    return f'<pre class="code mono"><code>{escape(tokens[at].content)}</code></pre>\n'


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True})
    reader.disable(["image", "html_block", "html_inline", "reference", "heading", "lheading", "code", "hr"])
    reader.disable(["entity", "escape"])
    reader.inline.ruler.before("emphasis", "bare_address", _bare_address)
    reader.inline.ruler.before("emphasis", "mention", _mention)
    reader.add_render_rule("mention", _render_mention)
    reader.add_render_rule("softbreak", _render_break)
    reader.add_render_rule("hardbreak", _render_break)
    reader.add_render_rule("code_inline", _render_code)
    reader.add_render_rule("fence", _render_block)
    return reader


_MARKDOWN = _reader()


def say(text: str, people: Mapping[str, int] | None = None) -> SafeString:
    """`text` as HTML. `people`: ids by lower-case username, whose @names are marked."""
    if _PLAIN.match(text) and "://" not in text and not _LIST.match(text):
        return format_html("<p>{}</p>", text.strip())
    kept = _short if len(text) < 2000 else _long
    return kept(text, tuple(sorted((people or {}).items())))


# A room shows the same words again and again. What is kept is bounded: a long text may have 20,000 characters.


@lru_cache(maxsize=2048)
def _short(text: str, people: tuple[tuple[str, int], ...]) -> SafeString:
    return _say(text, dict(people))


@lru_cache(maxsize=128)
def _long(text: str, people: tuple[tuple[str, int], ...]) -> SafeString:
    return _say(text, dict(people))


def _say(text: str, people: Mapping[str, int]) -> SafeString:
    html = _MARKDOWN.render(text, {"people": people})
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}, "span": {"data-person"}, "ol": {"start"}},
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noreferrer noopener",
    )
    return mark_safe(clean.strip())  # noqa: S308  cleaned in the line before


def named(text: str) -> list[str]:
    """Lower-case usernames after an @, in order and once each; none from code, addresses or links."""
    found: list[str] = []
    if "@" in text:
        _MARKDOWN.parse(text, {"people": {}, "named": found})
    return list(dict.fromkeys(found))


def folded(text: str, people: Mapping[str, int] | None = None) -> SafeString:
    """`text` as HTML; a long one shows its first line and opens."""
    html = say(text, people)
    if not rules.is_long(text):
        return html
    return format_html(
        '<details class="long"><summary>{} lines: {}</summary>{}</details>',
        f"{rules.line_count(text):,}",
        rules.excerpt(text.strip("`\n ").split("\n", 1)[0], 80),
        html,
    )


def with_name(name: str, html: SafeString) -> SafeString:
    """The name in bold, in front of the first paragraph's words."""
    bold = format_html("<b>{}</b>", name)
    if html.startswith("<p>"):
        return mark_safe(f"<p>{bold} {html[3:]}")  # noqa: S308  both parts are clean
    return mark_safe(f"<p>{bold}</p>{html}")  # noqa: S308  both parts are clean
