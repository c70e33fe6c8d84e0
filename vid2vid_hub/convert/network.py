"""A network of ours with converted weights, and what has to be added where two released networks read differently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator

Kind = TypeVar("Kind", Vid2VidGenerator, Pix2PixHDGenerator, AppearanceEncoder, MultiscaleDiscriminator)


@dataclass(frozen=True)
class Plan:
    """A network before it is one.

    Attributes:
        config: its settings.
        state: all of its weights, float32.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]

    def build(self, kind: type[Kind]) -> Kind:
        """The network, whose weights are those of the plan and not copies."""
        with torch.device("meta"):
            network: Kind = kind(**self.config)
        network.load_state_dict(self.state, assign=True)
        return network


def with_features(plan: Plan, channels: int) -> Plan:
    """A generator that reads features beside its condition, as one of ours, which reads them at further places too.

    pix2pixHD puts the features of appearance behind the condition and nowhere else. Wherever our network reads them
    again, they have weight zero: so has every channel that carries them through the residual blocks.

    Args:
        plan: of a generator of one style, whose condition ends with the features.
        channels: F, of the features.
    """
    config = plan.config | {
        "condition_channels": plan.config["condition_channels"] - channels,
        "appearance_channels": channels,
    }
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in Pix2PixHDGenerator(**config).state_dict().items()}
    return Plan(config, {key: _widened(tensor, shapes[key]) for key, tensor in plan.state.items()})


def with_blind_channel(plan: Plan) -> Plan:
    """A generator of single images that reads one condition channel more, behind the others and with weight zero.

    The released networks for first frames do not see the edges that those of the frames after them see.
    """
    seen = plan.config["condition_channels"]
    state = {
        key: torch.cat((tensor[:, :seen], torch.zeros_like(tensor[:, :1]), tensor[:, seen:]), 1)
        if key == "coarse.1.weight" or key.endswith(".condition.1.weight")
        else tensor
        for key, tensor in plan.state.items()
    }
    return replace(plan, config=plan.config | {"condition_channels": seen + 1}, state=state)


def _widened(tensor: Tensor, shape: torch.Size) -> Tensor:
    if tensor.shape == shape:
        return tensor
    wide = tensor.new_zeros(shape)
    wide[tuple(slice(n) for n in tensor.shape)] = tensor
    return wide
