"""The pages for readers as blocks of code, and the few things that differ when a test runs them instead of a reader."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (?P<why>[^>]+) -->\s*\Z")
LANGUAGES = ("python", "sh")

SMALL = {
    "stages": "[{epochs: 1, width: 64, height: 32, frames: 4, unroll: 2}]",
    "generator.base_channels": "8",
    "generator.downsamples": "2",
    "generator.blocks": "2",
    "discriminator.base_channels": "8",
    "video_discriminator.base_channels": "8",
    "optimizer.decay": "0",
    "perceptual": "none",
    "precision": "no",
}
"""What every training is told beside what its page says. Published sizes take days on a GPU, VGG is a download, and a
process trains in one precision all its life."""

NO_MODELS = "MediaPipe's models cannot be had here"
CHANGES = {
    r"^(accelerate launch|torchrun) .*-m vid2vid_hub": ("vid2vid-hub", "one process; test_processes.py has several"),
    r"(prepare --task sketch2face) me.mp4": (r"\1 me.mp4 --conditions face.npz", NO_MODELS),
    r"(prepare --task pose2dance) dance.mp4": (r"\1 dance.mp4 --conditions dance.npz", NO_MODELS),
    r"(generate (?:face-starter|runs/face/pipeline)) you.mp4": (r"\1 face.npz", NO_MODELS),
    r"(generate (?:dance-starter|runs/dance/pipeline)) (?:you|other).mp4": (
        r"\1 dance.npz",
        NO_MODELS,
    ),
    r"--val (me|drive2):\d+:": (r"--val \1:20:", "the stand-ins are short"),
    r"vid2vid-hub demo": ("vid2vid-hub demo --help", "125 frames; test_cli.py makes them"),
    r"(--dry-run --recipe pipelines)/street-2048": (r"\1/toy", "the largest takes half a minute"),
    r"--clips 14 --val 2": ("--clips 2 --val 1 --frames 16", "a drawn head takes a while"),
    r"--future 30": ("--future 3", "every frame takes a while"),
}
"""What is run where a page says something else: pattern -> what is put there, and why."""

MADE_BEFORE = {
    "docs/training.md": ("data-street", "data-future"),
    "docs/evaluate.md": ("data-street", "data-future", "runs/street", "runs/future"),
    "docs/convert.md": ("checkpoints",),
    "docs/publish.md": ("data-street", "runs/street"),
    "docs/zoo.md": ("runs/street",),
}
"""What a page takes for granted that others have made."""


@dataclass(frozen=True)
class Block:
    """A block of code: its language and text, the line of its page before it, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    not_run: str | None


def blocks(page: str) -> list[Block]:
    """The blocks of a page that a reader would run, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        if match["language"] in LANGUAGES:
            why = NOT_RUN.search(text[: match.start()])
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(match["language"], match["text"], line, why["why"] if why else None))
    return found


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell block, as a test runs them; a command may go on in the next line."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = [words for line in lines if (words := shlex.split(_changed(line.strip()), comments=True))]
    return [words + _small(words) for words in found]


def _changed(line: str) -> str:
    for pattern, (instead, _) in CHANGES.items():
        line = re.sub(pattern, instead, line)
    return line


def _small(words: list[str]) -> list[str]:
    if words[:2] != ["vid2vid-hub", "train"] or {"--resume", "--dry-run"} & set(words):
        return []
    without = "forecaster.yaml" in " ".join(words)
    kept = {key: value for key, value in SMALL.items() if not (without and "discriminator" in key)}
    return [word for key, value in kept.items() for word in ("--set", f"{key}={value}")]
