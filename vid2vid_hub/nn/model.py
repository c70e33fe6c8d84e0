"""What every network of ours is to diffusers: a ModelMixin that pipelines of the package can save and load anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin
from diffusers.pipelines import pipeline_loading_utils

from vid2vid_hub.errors import ModelError


class Vid2VidModel(ModelMixin, ConfigMixin):
    """Base of all saved networks. Weights are safetensors, always."""

    config_name = "config.json"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load ``config.json`` and safetensors weights; see ``diffusers.ModelMixin.from_pretrained``.

        Raises:
            ModelError: there is nothing to load, or it is not this network's: every setting that is unknown or out of
                range and every missing, surplus or misshapen key is an error.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        if not kwargs.setdefault("use_safetensors", True):
            raise ModelError("weights are loaded from safetensors only; leave use_safetensors as it is")
        with loading(pretrained_model_name_or_path, f"a {cls.__name__}"):
            loaded = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        model, info = loaded
        wrong = {kind: info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(kind)}
        if wrong:
            listed = "; ".join(f"{kind.replace('_', ' ')}: {_some(keys)}" for kind, keys in wrong.items())
            raise ModelError(
                f"the weights in {pretrained_model_name_or_path} are not those of {cls.__name__}: {listed}"
            )
        return loaded if wants_info else model

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Sort a config into constructor arguments; see ``diffusers.ConfigMixin.extract_init_dict``.

        Raises:
            ModelError: a setting is unknown to this network; diffusers would leave it out with a warning.
        """
        unknown = sorted({key for key in config_dict if not key.startswith("_")} - cls._get_init_keys(cls))
        if unknown:
            raise ModelError(
                f"{cls.__name__} has no setting {_some(unknown)}; its config is of another network or version"
            )
        return super().extract_init_dict(config_dict, **kwargs)

    def to_json_string(self) -> str:
        """The config as JSON; see :func:`portable`."""
        return portable(super().to_json_string())

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write ``config.json`` and safetensors weights; see ``diffusers.ModelMixin.save_pretrained``.

        Raises:
            ModelError: a pickle was asked for.
        """
        if not kwargs.get("safe_serialization", True):
            raise ModelError("weights are saved as safetensors only; leave safe_serialization as it is")
        super().save_pretrained(save_directory, **kwargs)


@contextmanager
def loading(source: Any, what: str) -> Iterator[None]:
    """Turn what loaders raise about a folder or repo into one sentence; errors of our own pass as they are.

    Raises:
        ModelError: ``source`` cannot be loaded as ``what``, with the first sentence of the reason.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, AttributeError, ImportError, RuntimeError, KeyError) as error:
        reason = re.split(r"(?<=[.!?]) ", " ".join(str(error).split()))[0][:400]
        raise ModelError(f"{source} cannot be loaded as {what}: {reason}") from error


def portable(config: str) -> str:
    """A JSON config without the folder that it was loaded from, which is nobody's business where it is published."""
    settings = json.loads(config)
    settings.pop("_name_or_path", None)
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def check_number(name: str, value: Any, low: int, high: int) -> None:
    """Refuse a setting that is not a whole number from ``low`` to ``high``.

    Raises:
        ModelError: with the name, the value and the limits.
    """
    if type(value) is not int or not low <= value <= high:
        raise ModelError(f"{name} is {value!r}; it must be a whole number between {low} and {high}")


def _some(keys: Any) -> str:
    named = [str(key) for key in keys]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def _register() -> None:
    """Make ``["vid2vid_hub", "ClassName"]`` a component that diffusers loads, from a folder and from the Hub alike.

    diffusers knows the libraries whose components a pipeline may hold by name. Without this, a pipeline of ours saves
    and loads locally and then fails from the Hub, because the component is taken for code inside the repo.
    """
    methods = {"Vid2VidModel": ["save_pretrained", "from_pretrained"]}
    pipeline_loading_utils.LOADABLE_CLASSES["vid2vid_hub"] = methods
    pipeline_loading_utils.ALL_IMPORTABLE_CLASSES.update(methods)


_register()
