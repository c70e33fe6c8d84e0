"""One tflite network on one CPU thread, its shapes checked when it is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vid2vid_hub.errors import MissingExtraError, TaskError
from vid2vid_mediapipe.models import Models

Floats = NDArray[np.float32]


class Network:
    """A network that takes one square RGB picture.

    Args:
        models: where its file is.
        name: the file's name without .tflite.
        sizes: how many numbers each wanted output has; outputs are found by this, as their names say nothing.
            The first of several allowed numbers counts.
        extra: the extra of vid2vid-hub that brings the library.
        need: what the network is needed for, for the error message.

    Raises:
        TaskError: no such file, no tflite model, or other inputs and outputs.
        MissingExtraError: ai-edge-litert is not installed.
    """

    def __init__(self, models: Models, name: str, sizes: tuple[tuple[int, ...], ...], extra: str, need: str) -> None:
        content = models.read(name)
        where = f"{name}.tflite in '{models.source}'"
        try:
            library: Any = import_module("ai_edge_litert.interpreter")
        except ModuleNotFoundError as error:
            if error.name not in ("ai_edge_litert", "ai_edge_litert.interpreter"):
                raise
            raise MissingExtraError("ai-edge-litert", extra, need) from error
        try:
            self._interpreter = library.Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise TaskError(f"{where} cannot be loaded as a tflite model ({reason}); extract it again") from error
        inputs = self._interpreter.get_input_details()
        shape = tuple(int(side) for side in inputs[0]["shape"])
        if len(inputs) != 1 or len(shape) != 4 or shape != (1, shape[1], shape[1], 3):
            raise TaskError(f"{where} must take one square RGB picture (1, S, S, 3), not {shape}; take MediaPipe's own")
        self.side = shape[1]
        self._input: int = inputs[0]["index"]
        outputs = {int(np.prod(each["shape"])): int(each["index"]) for each in self._interpreter.get_output_details()}
        self._outputs = []
        for wanted in sizes:
            found = [outputs[size] for size in wanted if size in outputs]
            if not found:
                raise TaskError(
                    f"{where} must have an output of {' or '.join(map(str, wanted))} numbers, and has "
                    f"{', '.join(map(str, sorted(outputs)))}; take MediaPipe's own"
                )
            self._outputs.append(found[0])

    def __call__(self, picture: Floats) -> list[Floats]:
        """Run on a picture (S, S, 3); returns the wanted outputs, flat, in the order in which they were named."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index).reshape(-1) for index in self._outputs]
