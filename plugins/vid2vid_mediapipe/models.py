"""Where MediaPipe's model files are: a folder, a wheel of mediapipe, or an installed mediapipe package."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vid2vid_hub.errors import TaskError

VARIABLE = "VID2VID_MEDIAPIPE"
MODULES = {
    "face_detection_short_range": "face_detection",
    "face_landmark": "face_landmark",
    "pose_detection": "pose_detection",
    "pose_landmark_full": "pose_landmark",
}
"""The models, by file name without .tflite, and the folder of mediapipe/modules that each lies in."""

_HOW = (
    "type: pip download mediapipe==0.10.21 --no-deps --python-version 3.11 --platform manylinux_2_28_x86_64, "
    f"then give the .whl file, or a folder of its .tflite files, as 'weights' or in the variable {VARIABLE}"
)


@dataclass(frozen=True)
class Models:
    """A place that holds model files: ``source`` is a folder or a wheel."""

    source: Path

    def read(self, name: str) -> bytes:
        """The content of the model called ``name``, one of MODULES.

        Raises:
            TaskError: it is not there, or the wheel is damaged.
        """
        found = self._in_wheel(name) if self.source.is_file() else self._in_folder(name)
        if found is None:
            raise TaskError(f"'{self.source}' has no {name}.tflite of MediaPipe; {_HOW}")
        return found

    def _in_folder(self, name: str) -> bytes | None:
        """The file itself may lie in the folder, or the folder may be a mediapipe package or what holds one."""
        member = Path("modules", MODULES[name], f"{name}.tflite")
        places = (self.source / f"{name}.tflite", self.source / member, self.source / "mediapipe" / member)
        return next((place.read_bytes() for place in places if place.is_file()), None)

    def _in_wheel(self, name: str) -> bytes | None:
        member = f"mediapipe/modules/{MODULES[name]}/{name}.tflite"
        try:
            with zipfile.ZipFile(self.source) as wheel:
                return wheel.read(member) if member in wheel.namelist() else None
        except (zipfile.BadZipFile, zlib.error, OSError) as error:
            raise TaskError(f"'{self.source}' is no readable wheel ({error}); {_HOW}") from error


def find_models(weights: str | None = None) -> Models:
    """Find MediaPipe's models: at ``weights``, else at $VID2VID_MEDIAPIPE, else in an installed mediapipe package.

    Args:
        weights: a folder of .tflite files (flat, or laid out as in the package), or a mediapipe wheel (.whl).

    Raises:
        TaskError: there is nothing at that place, or no place is known; the message says where to get the models.
    """
    for place, name in ((weights, "weights"), (os.environ.get(VARIABLE), VARIABLE)):
        if place:
            source = Path(place).expanduser()
            if not source.exists():
                raise TaskError(f"there are no MediaPipe models at {name} '{place}', which does not exist; {_HOW}")
            return Models(source)
    package = _installed()
    if package is None:
        raise TaskError(f"no MediaPipe models are known; {_HOW}")
    return Models(package)


def _installed() -> Path | None:
    """The folder of a mediapipe package that bundles models; later ones than 0.10.21 do not. Imports nothing."""
    spec = find_spec("mediapipe")
    folders = spec.submodule_search_locations if spec else None
    return next((Path(each) for each in folders or () if Path(each, "modules").is_dir()), None)
