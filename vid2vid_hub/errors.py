"""What goes wrong, by name: every error a person can cause is one sentence of what was found, expected and to do."""

from __future__ import annotations

import sys

from vid2vid_hub.secrets import blot_out, redacted


class Vid2VidError(Exception):
    """A mistake that the reader of the message can mend; the CLI prints it without a traceback and exits with 2.

    What others said is often part of the message, so whatever looks like a token in it is blotted out; and in the
    error that is being handled, because a traceback shows both.
    """

    def __init__(self, *args: object) -> None:
        blot_out(sys.exc_info()[1])
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class VideoError(Vid2VidError):
    """A video or picture folder cannot be read or written."""


class ConditionError(Vid2VidError):
    """A condition (labels, landmarks, ...) does not mean what its task says it should.

    Args:
        problem: what was found and what was expected.
        frame: which frame it was found in, counted from 0; None if it is not about one frame.
    """

    def __init__(self, problem: str, frame: int | None = None) -> None:
        super().__init__(problem if frame is None else f"frame {frame}: {problem}")
        self.problem, self.frame = redacted(problem), frame

    def moved(self, frames: int) -> ConditionError:
        """The same error, its frame counted from ``frames`` earlier: from the start of the video, not of a block."""
        return ConditionError(self.problem, None if self.frame is None else self.frame + frames)


class DatasetError(Vid2VidError):
    """A dataset folder is incomplete or contradicts itself."""


class ModelError(Vid2VidError):
    """A pipeline folder or Hub repo cannot be loaded or saved."""


class TaskError(Vid2VidError):
    """A task is unknown, claimed twice, or lacks what was asked of it."""


class RecipeError(Vid2VidError):
    """A training recipe has a key or a value that nothing can use."""


class CheckpointError(Vid2VidError):
    """A run folder holds no checkpoint that can be trusted."""


class StoppedError(Vid2VidError):
    """A training was asked to stop (SIGTERM), finished its step and saved; the CLI exits with 143."""


class MissingExtraError(Vid2VidError):
    """A library of an optional extra is not installed."""

    def __init__(self, library: str, extra: str, need: str) -> None:
        super().__init__(f"{need} needs {library}, which is not installed; type: pip install 'vid2vid-hub[{extra}]'")
