"""past2future: go on with a street video. What comes is first forecast as label maps, and then rendered."""

from vid2vid_future.task import PastToFuture

__all__ = ["PastToFuture"]
