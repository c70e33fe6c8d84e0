"""A pipeline by whatever a person calls it: a starter, a folder, a Hub id; on the best device that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers.utils import logging

from vid2vid_hub.errors import Vid2VidError
from vid2vid_hub.folder import starter
from vid2vid_hub.pipeline import Vid2VidPipeline


def load_pipeline(model: str, device: str | None = None, **hub: Any) -> Vid2VidPipeline:
    """Load a pipeline by folder, starter's name or Hub id.

    Args:
        model: "street-starter", "runs/street/pipeline", "org/name".
        device: cpu, cuda, mps, …; None for the best that is there.
        hub: ``revision``, ``token`` and the like, as in :meth:`Vid2VidPipeline.from_pretrained`.

    Raises:
        ModelError, TaskError: as in :meth:`Vid2VidPipeline.from_pretrained`.
        Vid2VidError: the device cannot be used.
    """
    logging.disable_progress_bar()
    plain = "/" not in model and not Path(model).exists()
    pipeline = Vid2VidPipeline.from_pretrained(starter(model) if plain else model, **hub)
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return cast(Vid2VidPipeline, pipeline.to(device or best))
    except (RuntimeError, AssertionError) as error:
        raise Vid2VidError(f"the device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
