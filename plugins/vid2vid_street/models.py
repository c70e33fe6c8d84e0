"""Models of transformers and the image processors saved beside them, from a folder or the Hub; safetensors only."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vid2vid_hub.errors import MissingExtraError, TaskError


def library(name: str, extra: str) -> Any:
    """Import a library of an optional extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtraError(name, extra, "segmenting street frames") from error


def is_universal(name: str) -> bool:
    """Whether a model finds segments (Mask2Former, MaskFormer, OneFormer, EoMT, …) instead of a class per pixel.

    Raises:
        TaskError, MissingExtraError: as :func:`load`.
    """
    transformers = library("transformers", "street")
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise _not_loaded(name, error) from error
    return type(config) in transformers.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING


def load(name: str, *, universal: bool) -> tuple[Any, Any]:
    """A model, in evaluation mode, and its processor.

    Args:
        name: Hub id or folder.
        universal: what :func:`is_universal` said.

    Raises:
        TaskError: no such model here or on the Hub, or weights that do not fill it.
        MissingExtraError: transformers is not installed, or SciPy, which its universal models ask for.
    """
    transformers = library("transformers", "street")
    if universal and find_spec("scipy") is None:
        raise MissingExtraError("scipy", "street", f"the model '{name}'")
    kind = (
        transformers.AutoModelForUniversalSegmentation if universal else transformers.AutoModelForSemanticSegmentation
    )
    try:
        model, report = kind.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        # OneFormer is told in words what to look for: its processor is more than an image processor.
        words = model.config.model_type == "oneformer"
        processors = transformers.AutoProcessor if words else transformers.AutoImageProcessor
        processor = processors.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise _not_loaded(name, error) from error
    absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        raise TaskError(
            f"the segmenter '{name}' lacks {len(absent)} of its weights or has them in another size, such as "
            f"{absent[0]}; name a model that was trained for semantic segmentation"
        )
    return model.eval(), processor


def first_line(error: Exception) -> str:
    """What an error says, as part of a sentence."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _not_loaded(name: str, error: Exception) -> TaskError:
    return TaskError(
        f"the segmenter '{name}' cannot be loaded ({first_line(error)}); download it beforehand, where there "
        "is a network (hf download ID), or give the path of an .onnx segmenter"
    )
