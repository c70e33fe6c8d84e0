"""vid2vid-hub: video-to-video synthesis as pipelines. Names are imported on first use; importing this is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vid2vid_hub.nn.appearance import AppearanceEncoder
    from vid2vid_hub.nn.discriminator import MultiscaleDiscriminator
    from vid2vid_hub.nn.generator import Vid2VidGenerator
    from vid2vid_hub.nn.image import Pix2PixHDGenerator
    from vid2vid_hub.pipeline import Vid2VidPipeline, Vid2VidPipelineOutput
    from vid2vid_hub.tasks import Task, get_task, list_tasks
    from vid2vid_hub.types import Clip, Condition, Encoded, Frame, Memory

__version__ = "0.1.0"

__all__ = [
    "AppearanceEncoder",
    "Clip",
    "Condition",
    "Encoded",
    "Frame",
    "Memory",
    "MultiscaleDiscriminator",
    "Pix2PixHDGenerator",
    "Task",
    "Vid2VidGenerator",
    "Vid2VidModel",
    "Vid2VidPipeline",
    "Vid2VidPipelineOutput",
    "get_task",
    "list_tasks",
]

_HOME = {
    "AppearanceEncoder": "nn.appearance",
    "Clip": "types",
    "Condition": "types",
    "Encoded": "types",
    "Frame": "types",
    "Memory": "types",
    "MultiscaleDiscriminator": "nn.discriminator",
    "Pix2PixHDGenerator": "nn.image",
    "Task": "tasks",
    "Vid2VidGenerator": "nn.generator",
    "Vid2VidModel": "nn.model",
    "Vid2VidPipeline": "pipeline",
    "Vid2VidPipelineOutput": "pipeline",
    "get_task": "tasks",
    "list_tasks": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vid2vid_hub' has no attribute '{name}'")
    return getattr(import_module(f"vid2vid_hub.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
