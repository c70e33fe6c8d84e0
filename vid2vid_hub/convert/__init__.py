"""Checkpoints of the released systems to pipeline folders, so that nobody has to train again what is trained already.

Files are pickles of strangers: another process opens them (`quarantine`). Settings follow from names and shapes; every
tensor must have its place (`names`). What it is called here and there stands in `video`, `image`, `appearance` and
`judges`.
"""

from vid2vid_hub.convert.run import Converted, convert

__all__ = ["Converted", "convert"]
