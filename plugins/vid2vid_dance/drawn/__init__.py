"""A drawn dancer whose joints and dense body parts are known exactly: for trying the task without data."""

from vid2vid_dance.drawn.world import DrawnDancer

__all__ = ["DrawnDancer"]
