"""What the site shows beyond docs/: pages and files of the repository, under links that work in both.

In the repository a page of docs/ links to ``../plugins/README.md``. In the site docs/ is the root and the rest of the
repository lies below it, so the same link must read ``plugins/README.md``, and one back to ``../docs/training.md`` is
``../training.md``. Pages are written for the repository; this turns their links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
LINK = re.compile(r"\]\((?![a-z]+:|#|/)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
SOURCES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "plugins/README.md")
"""Pages that the navigation names, wherever else they are linked from."""


def on_files(files: Files, *, config: Any) -> Files:
    """Add what is linked from docs/ and lies elsewhere in the repository, and what is linked from there."""
    waiting = [*PAGES, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / DOCS).glob("*.md")))]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.endswith(".md"):
            waiting += (target for target, _ in _links(path, (ROOT / path).read_text("utf-8")))
        if not path.startswith(DOCS):
            files.append(_file(path, config))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn the links of a page."""
    here = page.file.src_uri
    path = DOCS + here if (ROOT / DOCS / here).is_file() else here
    for target, link in _links(path, markdown):
        turned = f"]({relpath(_place(target), dirname(here) or '.')}{link['anchor'] or ''})"
        markdown = markdown.replace(link[0], turned)
    return markdown


def _links(path: str, markdown: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Links from a file of the repository to others, with where those are."""
    for link in LINK.finditer(markdown):
        target = normpath(join(dirname(path), link["path"]))
        if (ROOT / target).is_file():
            yield target, link


def _place(path: str) -> str:
    """Where a file of the repository is in the site, as its source is named there."""
    return path.removeprefix(DOCS) + (".md" if Path(path).suffix in SOURCES else "")


def _file(path: str, config: Any) -> File:
    """A page as it is, a source as a page that shows it, anything else as a file."""
    language = SOURCES.get(Path(path).suffix)
    if language is None:
        return File.generated(config, _place(path), abs_src_path=str(ROOT / path))
    text = (ROOT / path).read_text("utf-8")
    content = f"---\nsearch: {{exclude: true}}\n---\n\n# {path}\n\n```{language}\n{text}```\n"
    return File.generated(config, _place(path), content=content)
