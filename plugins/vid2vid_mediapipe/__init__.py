"""MediaPipe's face mesh and BlazePose, run from their tflite files: what the face and dance tasks see people with."""

from vid2vid_mediapipe.face import FaceMesh, FoundFace
from vid2vid_mediapipe.models import Models, find_models
from vid2vid_mediapipe.pose import BlazePose, FoundPose
from vid2vid_mediapipe.region import Region
from vid2vid_mediapipe.tracking import Session

__all__ = ["BlazePose", "FaceMesh", "FoundFace", "FoundPose", "Models", "Region", "Session", "find_models"]
