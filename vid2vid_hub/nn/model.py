"""What every network of ours is to diffusers: a ModelMixin that pipelines of the package can save and load anywhere."""

from __future__ import annotations

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
            ModelError: the weights are not this network's: every missing, surplus or misshapen key is an error.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs.setdefault("use_safetensors", True)
        loaded = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        model, info = loaded
        wrong = {kind: info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(kind)}
        if wrong:
            listed = "; ".join(f"{kind.replace('_', ' ')}: {_some(keys)}" for kind, keys in wrong.items())
            raise ModelError(
                f"the weights in {pretrained_model_name_or_path} are not those of {cls.__name__}: {listed}"
            )
        return loaded if wants_info else model

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Write ``config.json`` and safetensors weights; see ``diffusers.ModelMixin.save_pretrained``.

        Raises:
            ModelError: a pickle was asked for.
        """
        if not kwargs.get("safe_serialization", True):
            raise ModelError("weights are saved as safetensors only; leave safe_serialization as it is")
        super().save_pretrained(save_directory, **kwargs)


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
