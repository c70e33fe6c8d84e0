"""What lies in a folder of released checkpoints: which networks, of which epoch, by their names (B.9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from vid2vid_hub.errors import ModelError

NAMED = re.compile(r"(?P<epoch>latest|\d+)_net_(?P<network>\w+)\.pth")
SCALES, IMAGE = re.compile(r"G\d"), re.compile(r"G|G_\d{3,4}")
JUDGES = re.compile(r"D|D_T\d|D_f")
FEATURES = re.compile(r"features(_clustered_\d+)?\.npy")
LATEST = "latest"
EXPECTED = "latest_net_G0.pth of vid2vid, or latest_net_G.pth of pix2pixHD"


@dataclass(frozen=True)
class Found:
    """The files to convert.

    Attributes:
        folder: where they lie.
        epoch: "latest", or a number.
        scales: G0, G1, …, coarsest first.
        image: a generator of single images.
        encoder: E.
        features: what was recorded with E.
        judges: D, D_T0, … and D_f by those names.
        ignored: names of files of the epoch that are no network we know.
    """

    folder: Path
    epoch: str
    scales: tuple[Path, ...] = ()
    image: Path | None = None
    encoder: Path | None = None
    features: Path | None = None
    judges: dict[str, Path] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """All of them."""
        alone = [path for path in (self.image, self.encoder, self.features) if path is not None]
        return [*self.scales, *alone, *self.judges.values()]


def look(folder: Path, which: str | None = None, width: int | None = None, image: str | None = None) -> Found:
    """What there is to convert in a folder.

    Args:
        folder: of checkpoints.
        which: "latest" or an epoch; None for the latest, or for the one epoch that is there.
        width: of the frames in pixels, where generators of single images are named after it.
        image: which of several generators of single images is meant, by its name.

    Raises:
        ModelError: there is nothing, or it is not clear what is meant.
    """
    held = _named(folder)
    epoch = _epoch(folder, held, which)
    networks = held[epoch]
    scales = sorted(name for name in networks if SCALES.fullmatch(name))
    if scales != [f"G{n}" for n in range(len(scales))]:
        raise ModelError(f"{folder} has {' and '.join(scales)} of '{epoch}'; all scales from G0 on must be there")
    known = [name for name in networks if SCALES.fullmatch(name) or IMAGE.fullmatch(name) or JUDGES.fullmatch(name)]
    return Found(
        folder,
        epoch,
        scales=tuple(networks[name] for name in scales),
        image=networks[image] if image in networks else _image(folder, networks, width),
        encoder=networks.get("E"),
        features=_features(folder) if "E" in networks else None,
        judges={name: networks[name] for name in sorted(networks) if JUDGES.fullmatch(name)},
        ignored=tuple(networks[name].name for name in sorted(networks) if name not in {*known, "E"}),
    )


def _named(folder: Path) -> dict[str, dict[str, Path]]:
    """Epoch -> network -> file.

    Raises:
        ModelError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; give the one that holds {EXPECTED}")
    held = _matching(folder)
    if held:
        return held
    below = sorted(inner.name for inner in folder.iterdir() if inner.is_dir() and _matching(inner))
    if below:
        raise ModelError(f"{folder} holds folders of checkpoints; give one of them: {', '.join(below[:10])}")
    there = sorted(path.name for path in folder.iterdir())
    what = f"; it holds {', '.join(there[:5])}{' …' if len(there) > 5 else ''}" if there else "; it is empty"
    raise ModelError(f"{folder} holds no released checkpoints, such as {EXPECTED}{what}")


def _matching(folder: Path) -> dict[str, dict[str, Path]]:
    held: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        found = NAMED.fullmatch(path.name)
        if found and path.is_file():
            held.setdefault(found["epoch"], {})[found["network"]] = path
    return held


def _epoch(folder: Path, held: dict[str, dict[str, Path]], which: str | None) -> str:
    known = sorted(held, key=lambda epoch: (epoch == LATEST, int(epoch) if epoch != LATEST else 0))
    if which in held:
        return str(which)
    if which is None and (LATEST in held or len(held) == 1):
        return LATEST if LATEST in held else known[0]
    has = f"{folder} has checkpoints of {' and '.join(known)}"
    if which is None:
        raise ModelError(f"{has}, and none of 'latest'; say which: --which {known[-1]}")
    raise ModelError(f"{has}, and none of '{which}'")


def _image(folder: Path, networks: dict[str, Path], width: int | None) -> Path | None:
    """The one generator of single images: G, or the one that is named after the width."""
    names = sorted(name for name in networks if IMAGE.fullmatch(name))
    meant = [name for name in names if name == f"G_{width}"] or names
    if len(meant) > 1:
        raise ModelError(
            f"{folder} has {' and '.join(names)}, which make single images of different widths; say with --size which"
        )
    return networks[meant[0]] if meant else None


def _features(folder: Path) -> Path | None:
    """The recorded features; their centres where both are there."""
    names = sorted(path.name for path in folder.iterdir() if FEATURES.fullmatch(path.name) and path.is_file())
    return folder / max(names, key=len) if names else None
