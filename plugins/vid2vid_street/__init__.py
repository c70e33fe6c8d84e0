"""The task seg2street: Cityscapes label maps into street video."""

from vid2vid_street.task import SegToStreet

__all__ = ["SegToStreet"]
