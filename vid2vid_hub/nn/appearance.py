"""E, for many styles from one condition: what the parts of a picture look like, and the looks that were recorded.

A part is an object, or all that there is of a class such as the ground; it has a few features, the same at each of its
pixels (pix2pixHD, section 3.4). Its id says its class, see :mod:`vid2vid_hub.types`. While a video is made, features
come from the centres of what was recorded of the class in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import torch
from diffusers.configuration_utils import register_to_config
from torch import Generator, Tensor, nn

from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.blocks import conv7, downs, initialise, stem, ups
from vid2vid_hub.nn.model import Vid2VidModel, check_number
from vid2vid_hub.ops.raster import instance_mean
from vid2vid_hub.types import PER_CLASS

MAX_WIDTH = 2048
"""Channels at the lowest resolution (the released networks: 256)."""
MOST_CENTRES = 2**16
"""Of a class; a file of every part of every training picture may have so many."""
MAX_LOOKS = 2**26
"""Numbers in all centres together, 0.3 GB."""


class AppearanceEncoder(Vid2VidModel):
    """A real picture to the features of its parts; and, without a picture, features from what was recorded.

    Args:
        classes: C; ids of parts belong to classes 0 to C - 1.
        channels: F, features of a part, in [-1, 1].
        base_channels: width of the first layer.
        downsamples: how often the network halves its resolution, doubling the channels.
        centres: K, the most centres that a class has.
        joint: centre k of every class was seen in one and the same picture, so that only all of them together are a
            style; otherwise each part can have any centre of its class.

    Attributes:
        looks: (C, K, F), the centres, a saved buffer.
        known: int64 (C,), how many of the K are real; parts of a class without any have features 0.

    Raises:
        ModelError: a setting is out of its range.
    """

    looks: Tensor
    known: Tensor

    @register_to_config
    def __init__(
        self,
        classes: int,
        channels: int = 3,
        base_channels: int = 16,
        downsamples: int = 4,
        centres: int = 1,
        joint: bool = False,
    ) -> None:
        super().__init__()
        check_number("classes", classes, 1, 1024)
        check_number("channels", channels, 1, 256)
        check_number("base_channels", base_channels, 2, 512)
        check_number("downsamples", downsamples, 1, 6)
        check_number("centres", centres, 1, MOST_CENTRES)
        check_number("base_channels * 2 ** downsamples", base_channels * 2**downsamples, 4, MAX_WIDTH)
        check_number("classes * centres * channels", classes * centres * channels, 1, MAX_LOOKS)
        if not isinstance(joint, bool):
            raise ModelError(f"joint is {joint!r}; it must be true or false")
        self.layers = nn.Sequential(
            *stem(3, base_channels, affine=False),
            *downs(base_channels, downsamples, affine=False),
            *ups(base_channels, downsamples, affine=False),
            *conv7(base_channels, channels),
            nn.Tanh(),
        )
        self.register_buffer("looks", torch.zeros(classes, centres, channels))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.int64))
        self.apply(initialise)

    @property
    def multiple(self) -> int:
        """Heights and widths of pictures must be multiples of this, and at least twice it."""
        return int(2**self.config.downsamples)

    @property
    def styles(self) -> int:
        """How many styles :meth:`choose` knows: as many as the class with the most centres has, and at least 1."""
        return max(1, *self._counts())

    def forward(self, image: Tensor, ids: Tensor) -> Tensor:
        """The features of every part of real pictures: instance-wise average pooling of what the layers see.

        Args:
            image: float (N, 3, H, W) in [-1, 1].
            ids: int (N, 1, H, W), the parts; the same id in two pictures is two parts.

        Returns:
            (N, F, H, W), constant over every part.

        Raises:
            ModelError: the sizes do not fit each other or this network, or a part is of no class that it knows.
        """
        height, width = image.shape[-2:]
        if tuple(ids.shape) != (len(image), 1, height, width):
            raise ModelError(f"the parts of pictures {tuple(image.shape)} are {tuple(ids.shape)}; both must be alike")
        if height % self.multiple or width % self.multiple or min(height, width) < 2 * self.multiple:
            raise ModelError(
                f"pictures of {width}x{height} do not fit this network: both sides must be multiples of "
                f"{self.multiple} and at least {2 * self.multiple}"
            )
        self._class_of(torch.unique(ids).tolist())
        return instance_mean(self.layers(image), ids)

    def choose(self, ids: Tensor, style: int) -> Tensor:
        """The features of one style: centre ``style`` of every class, counted round where a class has fewer.

        Args:
            ids: int (N, 1, H, W).
            style: from 0 to below :attr:`styles`.

        Returns:
            (N, F, H, W) on the ids' device.

        Raises:
            ModelError: there is no such style, or a part is of no class that this network knows.
        """
        check_number("style", style, 0, self.styles - 1)
        return self._spread(ids, lambda _, count: style % count)

    def draw(self, ids: Tensor, seed: int) -> Tensor:
        """Features at random: each part one of its class's centres, all alike; or one style for all, where joint.

        A part has the same look in every picture of a video, whatever else is in it: seed and id alone decide.

        Args:
            ids: int (N, 1, H, W), of pictures of one video.
            seed: of the video.

        Returns:
            (N, F, H, W) on the ids' device.

        Raises:
            ModelError: a part is of no class that this network knows.
        """
        if self.config.joint:
            return self.choose(ids, _any_of(min((n for n in self._counts() if n), default=1), _own(seed, 0)))
        return self._spread(ids, lambda part, count: _any_of(count, _own(seed, part)))

    def held(self, style: int | None = None, random: Generator | None = None) -> Callable[[Tensor], Tensor]:
        """One style for a whole video: what makes features (N, F, H, W) of the ids (N, 1, H, W) of any of its pictures.

        Args:
            style: as in :meth:`choose`; None lets it be drawn.
            random: draws it, once; without it None is style 0.

        Raises:
            ModelError: there is no such style.
        """
        if style is not None:
            check_number("style", style, 0, self.styles - 1)
        if style is None and random is not None:
            seed = int(torch.randint(2**62, (), generator=random, device=random.device))
            return partial(self.draw, seed=seed)
        return partial(self.choose, style=style or 0)

    def nearest(self, image: Tensor, ids: Tensor) -> list[int]:
        """The style that looks most like a real picture: the least squared distance over all of its parts together.

        Args:
            image: float (N, 3, H, W) in [-1, 1].
            ids: int (N, 1, H, W).

        Returns:
            A style for every picture, for :meth:`choose`.

        Raises:
            ModelError: as :meth:`forward`; or the styles are not joint, so that no two parts have one together.
        """
        if not self.config.joint:
            raise ModelError(
                "the recorded looks of this network are of single parts, so that no style is nearest to a picture; "
                "choose one, or let them be drawn"
            )
        seen = self(image, ids)
        return [self._nearest(features, parts[0]) for features, parts in zip(seen, ids, strict=True)]

    def _nearest(self, seen: Tensor, ids: Tensor) -> int:
        """Of one picture: features (F, H, W) and parts (H, W)."""
        counts = self._counts()
        distances = torch.zeros(self.styles, dtype=torch.float64)
        for part in torch.unique(ids).tolist():
            kind = self._class_of([part])[0]
            if counts[kind]:
                features = seen[:, ids == part][:, 0].double().cpu()
                recorded = self.looks[kind, torch.arange(self.styles) % counts[kind]].double().cpu()
                distances += (recorded - features).square().sum(1)
        return int(distances.argmin())

    def _spread(self, ids: Tensor, index: Callable[[int, int], int]) -> Tensor:
        """Centres over pixels: ``index`` of a part and of how many centres its class has says which."""
        parts, places = torch.unique(ids, return_inverse=True)
        known, counts = parts.tolist(), self._counts()
        found = self.looks.new_zeros(len(known), self.config.channels)
        for row, (part, kind) in enumerate(zip(known, self._class_of(known), strict=True)):
            if counts[kind]:
                found[row] = self.looks[kind, index(part, counts[kind])]
        return found.to(ids.device)[places[:, 0]].permute(0, 3, 1, 2)

    def _counts(self) -> list[int]:
        counts: list[int] = self.known.clamp(0, self.config.centres).tolist()
        return counts

    def _class_of(self, parts: list[int]) -> list[int]:
        kinds = [class_of(part) for part in parts]
        for part, kind in zip(parts, kinds, strict=True):
            if not 0 <= kind < self.config.classes:
                raise ModelError(
                    f"a part has the id {part}, which is of class {kind}; this network knows the looks of "
                    f"{self.config.classes} classes, from 0 on"
                )
        return kinds


def class_of(part: int) -> int:
    """The class of a part by its id: the id itself, or id // 1000 from 1000 on."""
    return part if part < PER_CLASS else part // PER_CLASS


def _own(seed: int, part: int) -> Generator:
    """Randomness of a part's own, so that who comes into a video later changes nobody's look."""
    digest = hashlib.blake2b(f"{seed} {part}".encode(), digest_size=7).digest()
    return Generator().manual_seed(int.from_bytes(digest, "big"))


def _any_of(count: int, random: Generator) -> int:
    return int(torch.randint(count, (), generator=random))
