"""Released weights under our names, for tests that compare with the released system."""

import re

import torch

from vid2vid_hub.nn.generator import Vid2VidGenerator

OURS = {"model_down_seg": "condition", "model_down_img": "past", "model_final_img": "heads.image"} | {
    "model_final_flow": "heads.flow",
    "model_final_w": "heads.mask",
    "indv_final": "heads.foreground",
}


def rename(key, scale, depth, trunk, blocks):
    """A released key as ours; `depth` downs, `trunk` residual blocks behind the sum, `blocks` in the foreground."""
    prefix, index, rest = re.match(r"(\w+?)\.(\d+)\.(.*)", key).groups()
    index = int(index)
    if scale == 0:
        shifted = {
            "model_res_img": ("image", 0),
            "model_up_img": ("image", trunk),
            "model_res_flow": ("flow", 0),
            "model_up_flow": ("flow", trunk),
            "indv_down": ("foreground", 0),
            "indv_res": ("foreground", 4 + 3 * depth),
            "indv_up": ("foreground", 4 + 3 * depth + blocks),
        }
    else:
        shifted = {
            "model_up_img": ("image", 0),
            "model_up_flow": ("flow", 0),
            "indv_down": ("foreground_in", 0),
            "indv_up": ("foreground", 0),
        }
    room, offset = shifted.get(prefix) or (OURS[prefix], 0)
    return f"networks.{scale}.{room}.{index + offset}.{rest.replace('conv_block', 'body')}"


SCALE_AND_LAYER = (r"scale(\d+)_", r"scale\d+_layer(\d+)")


def rename_judge(weights, frames=0):
    """A released discriminator's weights as ours: its last scale sees the full resolution, our first one does.

    Video discriminators of ``frames`` frames read them before the flows, ours after: input channels are turned round.
    """
    scales, layers = (1 + max(int(re.match(key, name).group(1)) for name in weights) for key in SCALE_AND_LAYER)
    renamed = {}
    for key, tensor in weights.items():
        if re.search(r"running_|num_batches", key):
            continue
        scale, layer, index, kind = re.match(r"scale(\d+)_layer(\d+)\.(\d+)\.(\w+)", key).groups()
        if frames and layer == "0" and kind == "weight":
            tensor = tensor.roll(-3 * frames, 1)
        place = layer if int(layer) == layers - 1 else f"{layer}.{index}"
        renamed[f"judges.{scales - 1 - int(scale)}.layers.{place}.{kind}"] = tensor
    return renamed


def load(folder, options, channels):
    depth, blocks, scales = options["n_downsample_G"], options["n_blocks"], options.get("n_scales_spatial", 1)
    generator = Vid2VidGenerator(
        channels,
        base_channels=options["ngf"],
        downsamples=depth,
        blocks=blocks,
        scales=scales,
        flow=not options.get("no_flow", False),
        foreground=options.get("fg", False),
        composition="released",
    )
    renamed = {}
    for scale in range(scales):
        weights = torch.load(folder / f"latest_net_G{scale}.pth", weights_only=True)
        for key, tensor in weights.items():
            if not re.search(r"running_|num_batches", key):
                renamed[rename(key, scale, depth, blocks // 2, blocks)] = tensor
    generator.load_state_dict(renamed, strict=True)
    return generator.double()
