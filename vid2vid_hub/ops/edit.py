"""Semantic manipulation of a label map (section 4 of the paper): trees become buildings, and the video follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from vid2vid_hub.errors import ConditionError
from vid2vid_hub.types import Condition


def relabel(condition: Condition, classes: Mapping[int, int], objects: Collection[int] = ()) -> Condition:
    """Exchange classes for others, all at once: ``{1: 2, 2: 1}`` swaps them.

    Frame by frame, and on the condition's own device. Where a pixel's id is its class, which is how a pixel says that
    it is of no single object, it becomes the new class, and so a former tree has no edge within the building.

    Args:
        condition: its first map holds class ids, uint8 (T, C, H, W); other maps and points stay as they are.
        classes: class -> the class that it becomes.
        objects: classes that consist of single objects. An object that becomes one of them keeps its id; of an object
            that becomes anything else nothing is left but the class.

    Raises:
        ConditionError: an id is none of a label map, 0 to 255.
    """
    for number in (*classes.keys(), *classes.values()):
        if not 0 <= number <= 255:
            raise ConditionError(f"{number} is no class of a label map; its classes are numbers from 0 to 255")
    changed = {old: new for old, new in classes.items() if old != new}
    if not changed:
        return condition
    table = torch.arange(256, dtype=torch.uint8, device=condition.maps.device)
    for old, new in changed.items():
        table[old] = new
    labels = condition.maps[:, :1]
    edited = table[labels.int()]
    instances = condition.instances
    if instances is not None:
        single = torch.tensor([number in objects for number in range(256)], device=table.device)
        is_object = (instances != 0) & (instances != labels)
        # 0 beside another class is no object either, in data that numbers nothing but objects.
        kept = (edited == labels) | (is_object & single[edited.int()]) | ((instances == 0) & (labels != 0))
        instances = torch.where(kept, instances, edited.int())
    return Condition(torch.cat((edited, condition.maps[:, 1:]), 1), instances, condition.points)
