"""The task sketch2face: 68 face landmarks and the edges around them into video of a talking head."""

from vid2vid_face.task import SketchToFace

__all__ = ["SketchToFace"]
