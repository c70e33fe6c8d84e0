"""A warm process that gives birth to command lines: what takes seconds to import is imported once.

Every line of its input is an order in JSON, a file for what the child says and its arguments. It answers with the
child's process id, and with its exit code, or minus the signal, once it is dead.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

import cv2
import diffusers.models.modeling_utils
import diffusers.pipelines.pipeline_utils
import rich.progress

import vid2vid_hub.training.run
from vid2vid_hub import cli

with suppress(ImportError):  # it is not made for every machine
    import decord  # noqa: F401

WARM = (cv2, diffusers, rich, vid2vid_hub)


def main() -> None:
    """Serve until nobody orders any more."""
    for line in sys.stdin:
        said, *arguments = json.loads(line)
        child = os.fork()
        if not child:
            file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.argv = ["vid2vid-hub", *arguments]
            sys.exit(cli.main())
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
