"""Networks of ours as the released systems would have saved them: what the converter reads, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from vid2vid_hub.convert import appearance, image, judges, video
from vid2vid_hub.convert.names import STATISTICS, in_stretches
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator

Weights = dict[str, Tensor]


def released(network: nn.Module, name: Callable[[str], str], statistics: Iterable[str] = STATISTICS) -> Weights:
    """A network's weights under released names, with what the released norms count."""
    held = {name(key): tensor.clone() for key, tensor in network.state_dict().items()}
    for key, layer in network.named_modules():
        if isinstance(layer, nn.InstanceNorm2d | nn.BatchNorm2d):
            for kind in statistics:
                counted = torch.tensor(3) if kind == "num_batches_tracked" else torch.rand(layer.num_features)
                held[name(f"{key}.weight").removesuffix("weight") + kind] = counted
    return held


def released_scales(generator: Vid2VidGenerator, statistics: Iterable[str] = STATISTICS) -> list[Weights]:
    """G0, G1, …."""
    config = generator.config
    names = [
        video.fine() if scale else video.coarse(config.downsamples, config.blocks) for scale in range(config.scales)
    ]
    return [
        released(network, in_stretches(name), statistics)
        for network, name in zip(generator.networks, names, strict=True)
    ]


def released_image(generator: Pix2PixHDGenerator) -> Weights:
    """G of one style."""
    return released(generator, in_stretches(image.rows(dict(generator.config))))


def save(folder: Path, files: dict[str, Weights], epoch: str = "latest", *, legacy: bool = False) -> Path:
    """Write ``{epoch}_net_{name}.pth``, in torch's older format if ``legacy``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, weights in files.items():
        path = folder / f"{epoch}_net_{name}.pth"
        torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
    return folder


def save_scales(folder: Path, generator: Vid2VidGenerator, epoch: str = "latest", *, legacy: bool = False) -> Path:
    """Write a whole generator."""
    files = {f"G{scale}": weights for scale, weights in enumerate(released_scales(generator))}
    return save(folder, files, epoch, legacy=legacy)


def released_styled(generator: Pix2PixHDGenerator) -> Weights:
    """G with z."""
    return released(generator, in_stretches(appearance.rows(generator.config)))


def released_encoder(encoder: AppearanceEncoder) -> Weights:
    """E, without what was recorded with it."""
    return released(encoder.layers, "model.{}".format)


def released_judge(judge: MultiscaleDiscriminator) -> Weights:
    """D; or D_T, as far as names go: its input channels are as ours have them."""
    return released(judge, judges._by_layer(judge.config.scales, judge.config.layers))
