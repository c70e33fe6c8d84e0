"""Text from files is shown letter by letter: a reader of Markdown makes nothing of it but words."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from vid2vid_hub.hub.escape import address, code, plain, prose, table, words

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
XSS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/track.png)",
    "</td></table><iframe src=//evil>",
    "a | b | c\n|---|---|---|",
    "# Heading\n\n---\n\n> quote",
    "```\nblock\n```",
    "&lt;b&gt; &#x41; &amp;",
    "<https://evil.example>",
    "[1]: https://evil.example\n\n[1]",
    "a\\\nb  \nc",
    "1. one\n2) two\n- three\n+ four\n* five",
    "~~gone~~ **bold** _it_ $$x$$",
    "----\nlicense: mit\n---",
    "\u202egnp.exe\u2066 \x1b[31m\x00",
    "`` ` ``",
)
text = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(XSS)


def kinds(markdown: str) -> set[str]:
    """What a reader of Markdown sees, block and inline."""
    return {one.type for token in READER.parse(markdown) for one in (token, *(token.children or ()))}


def read(markdown: str) -> str:
    """The letters that a reader of Markdown shows."""
    inline = [child for token in READER.parse(markdown) for child in token.children or ()]
    return "".join(" " if child.type == "softbreak" else child.content for child in inline)


@given(text)
@example("1.")
@example("-")
@example("#")
@example("=")
def test_words_are_words(said: str):
    shown = words(said)
    assert "\n" not in shown
    assert kinds(shown) <= {"paragraph_open", "paragraph_close", "inline", "text"}
    assert read(shown) == plain(said)


@given(st.lists(text, min_size=2, max_size=2))
def test_a_cell_of_a_table_stays_one(said: list[str]):
    tokens = READER.parse(table(("a", "b"), [[words(one) for one in said]]))
    cells = [tokens[i + 1].children for i, token in enumerate(tokens) if token.type == "td_open"]
    assert ["".join(child.content for child in cell or ()) for cell in cells] == [plain(one) for one in said]


@given(text)
def test_code_is_letters(said: str):
    assert kinds(code(said)) <= {"paragraph_open", "paragraph_close", "inline", "code_inline"}


@given(st.lists(text | st.just("`code` here") | st.just("- item"), max_size=4).map("\n".join))
def test_prose_is_paragraphs_lists_and_code(said: str):
    allowed = {
        f"{kind}_{end}" for kind in ("paragraph", "bullet_list", "list_item", "link") for end in ("open", "close")
    }
    blocks = list(prose(said))
    assert kinds("\n\n".join(blocks)) <= allowed | {"inline", "text", "code_inline", "softbreak"}
    for block in blocks:
        for link in re.findall(r"\]\(|<[^>]*>", re.sub(r"\\.|`[^`]*`", "", block)):
            assert link.startswith("<http")


def test_prose_keeps_what_an_author_may_say():
    said = "One\nline, see https://a.example/x_y, and `a_b | c`.\n\n- first\n  goes on\n- `second`\n\n    Last."
    first, listed, last = prose(said)
    assert first == "One line, see <https://a.example/x_y>, and `a_b | c`."
    assert listed == "- first goes on\n- `second`"
    assert last == "Last."


@pytest.mark.parametrize(
    "said", ["javascript:alert(1)", "https://a.example/ x", 'https://a"onload=', "ftp://a.example"]
)
def test_only_addresses_of_the_web_become_links(said: str):
    assert "<" not in address(said)
    assert read(address(said)) == plain(said)
