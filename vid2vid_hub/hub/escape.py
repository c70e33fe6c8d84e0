"""Text from files on its way into a card: shown as it is, never obeyed as Markdown or HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_SPECIAL = re.compile(r"[\\`*_\[\]|~$!{}]")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BLOCK = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[+=-](?=[\s=+-]|$)|\d{1,9}[.)](?=\s|$))")
"""What makes a heading, a list or a rule of the line that it begins."""
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~/%+=?&,;:@-]*)?")
_FOUND = re.compile(r"(?<!\S)(https?://[^\s<>()\"'`]*[^\s<>()\"'`.,;:])")
_CODE = re.compile(r"`([^`\n]+)`")


def plain(text: str) -> str:
    """One line of what can be seen: no control or formatting characters, such as those that turn writing round."""
    seen = (" " if ch.isspace() else ch for ch in text if ch.isspace() or unicodedata.category(ch)[0] != "C")
    return " ".join("".join(seen).split())


def words(text: str) -> str:
    """A few words within a line, a heading or a cell of a table."""
    shown = "".join(_HTML.get(ch, ch) for ch in _SPECIAL.sub(r"\\\g<0>", plain(text)))
    return _BLOCK.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", shown)


def address(text: str) -> str:
    """An address of the web as a link; words, where it is none."""
    return f"<{text}>" if _ADDRESS.fullmatch(text) else words(text)


def code(text: str) -> str:
    """A name or a command, letter by letter; within a table ``|`` would end the cell, so not there."""
    return f"`{plain(text).replace('`', chr(39)) or ' '}`"


def prose(text: str) -> Iterator[str]:
    """Paragraphs and ``- `` lists of an author's text, with `` `code` `` and nothing else of Markdown."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        items: list[list[str]] = [[]]
        for line in paragraph.splitlines():
            if line.lstrip().startswith("- "):
                items.append([line.lstrip()[2:]])
            else:
                items[-1].append(line)
        lead, *listed = (_inline(" ".join(item)) for item in items)
        if lead:
            yield lead
        if listed:
            yield "\n".join(f"- {item}" for item in listed)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of cells that are Markdown already; all columns but the first ``left`` are of numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _inline(text: str) -> str:
    """Words, code between single backticks, and addresses as links."""
    shown = [code(part) if i % 2 else _spaced(part) for i, part in enumerate(_CODE.split(text))]
    return _BLOCK.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", "".join(shown).strip())


def _spaced(text: str) -> str:
    """Words and addresses with the spaces around them, which set them off from code."""
    pieces = []
    for i, piece in enumerate(_FOUND.split(text)):
        before, after = (" " if end.isspace() else "" for end in (piece[:1], piece[-1:]))
        pieces.append(address(piece) if i % 2 else f"{before}{words(piece)}{after}" if plain(piece) else before)
    return "".join(pieces)
