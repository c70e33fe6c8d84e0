"""The task pose2dance: poses into video of a dancing person."""

from vid2vid_dance.task import PoseToDance

__all__ = ["PoseToDance"]
