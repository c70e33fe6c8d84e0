"""What makes released generators many-styled (B.5): G with z, E, and the features that were recorded with E.

A features file is a dict from label to an array, here already out of its pickle. There are two kinds. ``features.npy``
has a row for every part of every training picture: its features, and the share of the picture that it covers, times 32.
``features_clustered_010.npy`` has the ten or fewer centres of those rows, label by label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vid2vid_hub.convert.image import finer_rows, finer_settings, matched
from vid2vid_hub.convert.names import Stretch, Weights, blocks, first_layer, halvings, match
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import MAX_LOOKS, MOST_CENTRES, AppearanceEncoder
from vid2vid_hub.nn.image import MAX_CHANNELS

LARGE = 0.5
"""Parts that cover no more than this share of the picture, times 32, say too little about their class (A.9)."""


def is_styled(keys: Iterable[str]) -> bool:
    """Whether these are names of a generator with z (Global_with_z or Local_with_z)."""
    return any(key.startswith("model_downsample.") for key in keys)


def styled_generator(weights: Weights, what: str, problems: list[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of a `Pix2PixHDGenerator` of many styles.

    Args:
        weights: what the file holds: a global network with z, alone or with enhancers.
        what: the file, for messages.
        problems: here go the keys that are missing, surplus or misshapen.

    Raises:
        ModelError: the file is of another network, or settings that follow from it are out of range.
    """
    config = settings(weights, what)
    return config, matched(config, rows(config), weights, what, problems)


def settings(weights: Weights, what: str) -> dict[str, Any]:
    """What `Pix2PixHDGenerator` is to be, by the names and shapes of the file."""
    width, inputs = first_layer(weights, "model_downsample.1.weight", what)
    wide, _ = first_layer(weights, "model_resnet.0.conv_block.1.weight", what)
    downsamples = halvings(weights, "model_downsample")
    appearance = wide - min(width * 2**downsamples, MAX_CHANNELS)
    if not 0 < appearance < inputs:
        raise ModelError(
            f"{what} reads {inputs} channels and has blocks of {wide} after {downsamples} halvings of {width}: "
            "it is no generator with features of appearance"
        )
    return {
        "condition_channels": inputs - appearance,
        "base_channels": width,
        "downsamples": downsamples,
        "blocks": blocks(weights, "model_resnet"),
        **finer_settings(weights),
        "appearance_channels": appearance,
    }


def rows(config: Mapping[str, Any]) -> Iterator[Stretch]:
    """Where our rows of layers lie in the file's."""
    trunk = 4 + 3 * config["downsamples"]
    decoder = trunk + config["blocks"]
    yield Stretch("coarse", "model_downsample", stop=trunk)
    yield Stretch("coarse", "model_resnet", -trunk, trunk, decoder)
    yield Stretch("coarse", "model_upsample", -decoder, decoder)
    yield from finer_rows(config["enhancers"])
    yield Stretch("head", "model_final" if config["enhancers"] else "model_upsample_conv")


@dataclass(frozen=True)
class Centres:
    """What a features file knows.

    Attributes:
        looks: float (C, K, F); rows beyond the known ones are 0.
        known: int64 (C,), how many of the K a class has.
        joint: row k of every class is of one picture.
    """

    looks: Tensor
    known: Tensor
    joint: bool = False


def encoder(
    weights: Weights, what: str, problems: list[str], centres: Centres | None = None, classes: int = 1
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of an `AppearanceEncoder`.

    Args:
        weights: what the file E holds.
        what: the file, for messages.
        problems: here go the keys that are missing, surplus or misshapen.
        centres: what its features file knows; without one every look is 0.
        classes: how many the task has, at least; more where ``centres`` has more.

    Raises:
        ModelError: the file is of another network, or settings that follow from it are out of range.
    """
    width, _ = first_layer(weights, "model.1.weight", what)
    downsamples = halvings(weights, "model") // 2
    channels, _ = first_layer(weights, f"model.{5 + 6 * downsamples}.weight", what)
    if centres is None:
        centres = Centres(torch.zeros(classes, 1, channels), torch.zeros(classes, dtype=torch.int64))
    if centres.looks.shape[2] != channels:
        raise ModelError(
            f"{what} makes {channels} features of a part, and those recorded have {centres.looks.shape[2]}; "
            "convert it with its own features file"
        )
    looks, known = _of_classes(centres, classes)
    config = {
        "classes": len(known),
        "channels": channels,
        "base_channels": width,
        "downsamples": downsamples,
        "centres": looks.shape[1],
        "joint": centres.joint,
    }
    with torch.device("meta"):
        network = AppearanceEncoder(**config)
    found = match(network.layers, weights, "model.{}".format, what, problems)
    return config, {f"layers.{key}": tensor for key, tensor in found.items()} | {"looks": looks, "known": known}


def centres(found: Mapping[int, Any], channels: int, joint: bool | None = None) -> Centres:
    """The centres of every class from the arrays of a features file.

    Centres come as they are. Of recorded parts those stay that are large enough, as before clustering; all of them stay
    where every picture has every part once, as in pictures of one thing: then they are joint.

    Args:
        found: label -> (rows, F) centres, or (rows, F + 1) recorded parts with their sizes.
        channels: F, of the encoder that they were recorded with.
        joint: whether row k of every label is of one picture; None judges by whether all labels have as many rows.

    Raises:
        ModelError: a label or its array is no such thing; names it.
    """
    arrays = {label: _checked(label, array, channels) for label, array in found.items()}
    if not arrays:
        raise ModelError("the features file knows no label: there is nothing to choose a look from")
    sizes = {len(rows) for rows in arrays.values()}
    recorded = all(rows.shape[1] == channels + 1 for rows in arrays.values())
    joint = recorded and len(arrays) > 1 and len(sizes) == 1 if joint is None else joint
    if joint:
        arrays = {label: rows[: min(sizes)] for label, rows in arrays.items()}
    else:
        arrays = {
            label: rows[rows[:, channels] > LARGE] if rows.shape[1] > channels else rows
            for label, rows in arrays.items()
        }
    classes = 1 + max(arrays)
    most = min(MOST_CENTRES, MAX_LOOKS // (classes * channels))
    kept = {label: _thinned(rows[:, :channels], most) for label, rows in arrays.items()}
    known = torch.zeros(classes, dtype=torch.int64)
    looks = torch.zeros(classes, max(1, *map(len, kept.values())), channels)
    for label, rows in kept.items():
        looks[label, : len(rows)], known[label] = rows, len(rows)
    return Centres(looks, known, joint)


def _checked(label: Any, array: Any, channels: int) -> Tensor:
    if type(label) is not int or not 0 <= label < 1024:
        raise ModelError(f"the features file has the label {label!r}; labels are whole numbers from 0 to 1023")
    found = torch.as_tensor(array)
    if found.ndim != 2 or found.shape[1] not in (channels, channels + 1):
        raise ModelError(
            f"the features of label {label} are {tuple(found.shape)}; expected rows of {channels} features, or of "
            f"{channels + 1} with the size of the part"
        )
    if not torch.isfinite(found).all():
        raise ModelError(f"the features of label {label} are not all of them numbers")
    return found.float()


def _thinned(rows: Tensor, most: int) -> Tensor:
    """At most so many rows, from all over."""
    return rows if len(rows) <= most else rows[torch.arange(most) * len(rows) // most]


def _of_classes(centres: Centres, classes: int) -> tuple[Tensor, Tensor]:
    missing = max(0, classes - len(centres.known))
    looks, known = centres.looks, centres.known
    return torch.cat((looks, looks.new_zeros(missing, *looks.shape[1:]))), torch.cat((known, known.new_zeros(missing)))
