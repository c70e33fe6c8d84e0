"""What a reader of the pages has at hand, small and drawn: videos, labels, key points, datasets, models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vid2vid_hub import Vid2VidPipeline
from vid2vid_hub.convert.names import in_stretches
from vid2vid_hub.convert.video import coarse
from vid2vid_hub.data.encode import VideoWriter
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.prepare import HeldOut, Material, prepare
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.nn.frozen import flow_teacher
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.tasks import get_task

STREET = ("drive1", "drive2", "drive3", "other", "drive")
FRAMES, HEIGHT, WIDTH = 40, 32, 64
CLASSES = torch.tensor([7, 11, 23, 26, 8, 21, 24, 33], dtype=torch.uint8)
"""Cityscapes' ids of road, building, sky, car and so on, for the drawn world's classes."""
SMALL = {"base_channels": 8, "downsamples": 2, "blocks": 2}
SEGMENTER = "nvidia/segformer-b0-finetuned-cityscapes-1024-1024"
"""What seg2street finds labels with unless told otherwise."""


def fill_desk(folder: Path) -> None:
    """Files that pages speak of as the reader's own."""
    for seed, name in enumerate(STREET):
        drawn = ToyWorld(seed, HEIGHT, WIDTH).draw(FRAMES)
        write_video(folder / f"{name}.mp4", drawn.frames)
        if name in ("drive1", "drive2"):
            write_maps(folder / f"labels{name[-1]}.mkv", CLASSES[drawn.labels.long()], 25)
    labels = ToyWorld(9, 144, 256).draw(3)
    write_maps(folder / "labels.mkv", labels.labels, 25)
    for name, frame in zip(("first", "second"), labels.frames, strict=False):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
    for task, video, points in (("sketch2face", "me", "face"), ("pose2dance", "dance", "dance")):
        seen = list(get_task(task).draw(0, 24, (128, 128)))
        write_video(folder / f"{video}.mp4", torch.cat([one.frames for one in seen]))
        places = torch.cat([one.condition.points for one in seen if one.condition.points is not None])
        np.savez(folder / f"{points}.npz", points=places.numpy(), size=np.array([128, 128]))


def fill_shelf(desk: Path, folder: Path) -> None:
    """What pages have made on an earlier page: datasets and trained pipelines."""
    given = [Material(desk / f"drive{n}.mp4", desk / f"labels{n}.mkv") for n in (1, 2)]
    for task, name in (("seg2street", "street"), ("past2future", "future")):
        output = folder / f"data-{name}"
        prepare(given, output, get_task(task), held_out=[HeldOut("drive2")], teacher=flow_teacher())
    torch.manual_seed(0)
    street, future = get_task("seg2street"), get_task("past2future")
    generator = Vid2VidGenerator(street.channels, foreground=True, **SMALL)
    forecaster = Vid2VidGenerator(2, image_channels=35, frames="probabilities", history=2, **SMALL)
    sized = {"size": (HEIGHT, WIDTH)}
    Vid2VidPipeline(generator, street, **sized).save_pretrained(folder / "runs/street/pipeline")
    Vid2VidPipeline(generator, future, forecaster=forecaster, **sized).save_pretrained(folder / "runs/future/pipeline")
    released = in_stretches(coarse(SMALL["downsamples"], SMALL["blocks"]))
    weights = {released(key.removeprefix("networks.0.")): tensor for key, tensor in generator.state_dict().items()}
    (folder / "checkpoints/label2city").mkdir(parents=True)
    torch.save(weights, folder / "checkpoints/label2city/latest_net_G0.pth")


def fill_hub(root: Path, shelf: Path) -> None:
    """Repositories that pages speak of: a published pipeline, and the segmenter."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    from vid2vid_street.cityscapes import TRAIN_IDS

    Vid2VidPipeline.from_pretrained(shelf / "runs/street/pipeline").save_pretrained(root / "org/vid2vid-street")
    names = {id: name for name, id in TRAIN_IDS.items() if 0 <= id < 19}
    small = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    model = SegformerForSemanticSegmentation(SegformerConfig(**small, id2label=names))
    model.decode_head.classifier.bias.data[0] += 0.3  # road: a frame without any is left out
    model.save_pretrained(root / SEGMENTER)
    SegformerImageProcessor(size={"height": 32, "width": 64}).save_pretrained(root / SEGMENTER)


def write_video(path: Path, frames: Iterable[Tensor]) -> None:
    """Frames uint8 (3, H, W) as H.264."""
    with VideoWriter(path, 25) as writer:
        for frame in frames:
            writer.write(frame.permute(1, 2, 0).contiguous().numpy())
