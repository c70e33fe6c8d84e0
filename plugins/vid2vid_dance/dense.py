"""Dense body parts as DensePose finds them: pictures whose channels, read as RGB, are v, u and the part's number.

That is the channel order of the files that DensePose's own tools write ("IUV", saved blue first). Part 0 is no person;
1 to 24 are the parts of Güler et al. (CVPR 2018): a limb has one for its back and one for its front.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid_hub.errors import ConditionError

PARTS = 24
V, U, PART = range(3)
"""What the channels hold; u and v are in [0, 255]."""

TORSO = (1, 2)
RIGHT_HAND, LEFT_HAND, LEFT_FOOT, RIGHT_FOOT = 3, 4, 5, 6
RIGHT_THIGH, LEFT_THIGH, RIGHT_SHIN, LEFT_SHIN = (7, 9), (8, 10), (11, 13), (12, 14)
LEFT_ARM, RIGHT_ARM, LEFT_FOREARM, RIGHT_FOREARM = (15, 17), (16, 18), (19, 21), (20, 22)
HEAD = (23, 24)
"""Parts by number; of two, the first is the back one and the second the front one, of the head right and left."""


def check_dense(pictures: Tensor) -> None:
    """Refuse what are no pictures of dense parts, uint8 (T, 3, H, W).

    Raises:
        ConditionError: another number of channels, or a part's number over 24.
    """
    if pictures.ndim != 4 or pictures.dtype != torch.uint8 or pictures.shape[1] != 3:
        raise ConditionError(
            "pictures of dense body parts are uint8 (T, 3, H, W), v, u and part number as RGB, "
            f"not {pictures.dtype} {tuple(pictures.shape)}; poses themselves are read from OpenPose JSON or .npz"
        )
    wrong = pictures[:, PART] > PARTS
    if wrong.any():
        frame, y, x = wrong.nonzero()[0].tolist()
        found, other = int(pictures[frame, PART, y, x]), int(pictures[:, V].max())
        turned = "; the first channel may hold them: swap red and blue" if other <= PARTS else ""
        raise ConditionError(
            f"the part is {found} at x {x}, y {y}; the last channel of a DensePose picture, read as RGB, "
            f"has part numbers 0 to {PARTS}{turned}",
            frame,
        )


def encode_dense(maps: Tensor, remove_head: bool) -> Tensor:
    """Dense parts as the network reads them: u and v in [-1, 1], and the part so that 0 to 24 spans [-1, 1].

    A part's number over 24 counts as no person; :func:`check_dense` stands where pictures come in.

    Args:
        maps: uint8 (T, 3, H, W).
        remove_head: leave out the parts of the head.

    Returns:
        float32 (T, 3, H, W) in [-1, 1].
    """
    part = maps[:, PART : PART + 1]
    # One test on unsigned bytes: parts of the head are the last two.
    person = part <= (PARTS - len(HEAD) if remove_head else PARTS)
    scale = torch.tensor([255.0, 255.0, float(PARTS)], device=maps.device).view(1, 3, 1, 1)
    return torch.where(person, maps, torch.zeros_like(maps)).float() / scale * 2 - 1


def without_parts(maps: Tensor, parts: Tensor) -> Tensor:
    """The pictures without some parts: bool (25,) says which."""
    table = torch.zeros(256, dtype=torch.bool, device=maps.device)
    table[: len(parts)] = parts.to(maps.device)
    gone = table[maps[:, PART : PART + 1].long()]
    return maps.masked_fill(gone, 0)
