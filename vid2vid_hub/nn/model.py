"""What every network of ours is to diffusers: a ModelMixin that pipelines of the package can save and load anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin
from diffusers.pipelines import pipeline_loading_utils

from vid2vid_hub.errors import ModelError, TaskError
from vid2vid_hub.nn.remote import HUB_OPTIONS, fetch_network
from vid2vid_hub.nn.stored import check_stored
from vid2vid_hub.nn.strict import some
from vid2vid_hub.secrets import without_secrets

OPTIONS = (
    *HUB_OPTIONS,
    *("device_map", "disable_mmap", "dtype", "low_cpu_mem_usage", "max_memory", "offload_folder"),
    *("offload_state_dict", "output_loading_info", "subfolder", "torch_dtype", "use_safetensors", "variant"),
)
"""What ``from_pretrained`` takes beside settings."""
CODE = "no code from a repo or folder is ever run"
REFUSED = {
    **dict.fromkeys(("custom_pipeline", "custom_revision", "trust_remote_code", "load_connected_pipeline"), CODE),
    **dict.fromkeys(("use_flashpack", "use_onnx"), "weights are loaded from safetensors only"),
    "ignore_mismatched_sizes": "weights must be the network's own",
    "proxies": "the Hub's library reads HTTPS_PROXY from the environment",
}
"""What diffusers takes and we do not, unless it is None or False; and why."""


class Vid2VidModel(ModelMixin, ConfigMixin):
    """Base of all saved networks. Weights are safetensors, always."""

    config_name = "config.json"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Load ``config.json`` and safetensors weights of a network, from a folder or from a Hub repo.

        Settings, and names and shapes of all weights, are checked before anything is allocated; of a repo only these
        files are downloaded.

        Args:
            pretrained_model_name_or_path: a folder, or "org/name" on the Hub.
            **kwargs: ``subfolder`` (such as "generator"), ``variant``, ``dtype``, ``device_map`` and what else
                :data:`OPTIONS` names, as in ``diffusers.ModelMixin.from_pretrained``; or a setting that is to differ
                from the one in ``config.json``.

        Raises:
            ModelError: there is nothing to load, or it is not this network's: every setting that is unknown or out of
                range and every missing, surplus or misshapen key is an error.
        """
        options, changes = sort_options(kwargs, OPTIONS, signature(cls).parameters)
        variant, subfolder = options.get("variant"), options.pop("subfolder", None)
        hub = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        place, inside = Path(pretrained_model_name_or_path), "" if subfolder is None else f"{subfolder}/"
        source = f"{pretrained_model_name_or_path}/{inside}".rstrip("/")
        if place.exists() or str(pretrained_model_name_or_path).count("/") != 1:
            if not (place / inside).is_dir():
                raise ModelError(f"there is no folder {source} to load a {cls.__name__} from; give one, or org/name")
        else:
            place = fetch_network(str(pretrained_model_name_or_path), inside, cls, variant, changes, **hub)
        with loading(source, f"a {cls.__name__}"):
            check_stored(place / inside, cls, variant, source, changes)
            return super().from_pretrained(str(place / inside), **options, **changes)

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Sort a config into constructor arguments; see ``diffusers.ConfigMixin.extract_init_dict``.

        Raises:
            ModelError: a setting is unknown to this network; diffusers would leave it out with a warning.
        """
        unknown = sorted({key for key in config_dict if not key.startswith("_")} - cls._get_init_keys(cls))
        if unknown:
            raise ModelError(
                f"{cls.__name__} has no setting {some(unknown)}; its config is of another network or version"
            )
        return super().extract_init_dict(config_dict, **kwargs)

    def to_json_string(self) -> str:
        """The config as JSON; see :func:`portable`."""
        return portable(super().to_json_string())

    # Pipelines look for the names of these arguments, and leave out what they do not find.
    def save_pretrained(
        self,
        save_directory: Any,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str = "10GB",
        **kwargs: Any,
    ) -> None:
        """Write ``config.json`` and safetensors weights; see ``diffusers.ModelMixin.save_pretrained``.

        Raises:
            ModelError: a pickle was asked for, or that the network be published without its pipeline.
        """
        if not safe_serialization:
            raise ModelError("weights are saved as safetensors only; leave safe_serialization as it is")
        if kwargs.pop("push_to_hub", False):
            self.push_to_hub()
        super().save_pretrained(save_directory, variant=variant, max_shard_size=max_shard_size, **kwargs)

    def push_to_hub(self, *_: Any, **__: Any) -> Any:
        """Refuse: diffusers' own would put a card beside the network that says nothing of it.

        Raises:
            ModelError: always; says what publishes.
        """
        raise ModelError(
            "a network is published with its pipeline, whose card says what it is: Vid2VidPipeline.push_to_hub, "
            "or vid2vid-hub push FOLDER org/name"
        )


def sort_options(
    given: Mapping[str, Any], options: Collection[str], settings: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell the options of loading from the settings that are to be changed, and refuse the rest.

    Raises:
        ModelError: one is neither; or a pickle is asked for, or code from a repo.
    """
    asked = {name: value for name, value in given.items() if not (name in REFUSED and value in (None, False))}
    if asked.get("use_safetensors", True) is False:
        raise ModelError("weights are loaded from safetensors only; leave use_safetensors as it is")
    for name in asked:
        if name in REFUSED:
            raise ModelError(f"{name} is not taken: {REFUSED[name]}; leave it out")
        if name not in options and name not in settings:
            raise ModelError(f"there is no option {name} here; there are: {', '.join(sorted({*options, *settings}))}")
    chosen = {name: value for name, value in asked.items() if name in options} | {"use_safetensors": True}
    return chosen, {name: value for name, value in asked.items() if name in settings}


@contextmanager
def loading(source: Any, what: str) -> Iterator[None]:
    """Turn what loaders raise about a folder or repo into one sentence that names it; so are errors of our own.

    Raises:
        ModelError: ``source`` cannot be loaded as ``what``, with the first sentence of the reason.
        TaskError: its task cannot be made.
    """
    try:
        yield
    except (ModelError, TaskError) as error:
        if str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, ImportError, RuntimeError, LookupError) as error:
        reason = re.split(r"(?<=[.!?]) ", " ".join(str(error).split()))[0][:400]
        raise ModelError(f"{source} cannot be loaded as {what}: {reason}") from error


def portable(config: str) -> str:
    """A JSON config without what is nobody's business: secrets, and the folder that it was loaded from."""
    settings = without_secrets(json.loads(config))
    settings.pop("_name_or_path", None)
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def check_number(name: str, value: Any, low: int, high: int) -> None:
    """Refuse a setting that is not a whole number from ``low`` to ``high``.

    Raises:
        ModelError: with the name, the value and the limits.
    """
    if type(value) is not int or not low <= value <= high:
        raise ModelError(f"{name} is {value!r}; it must be a whole number between {low} and {high}")


def _register() -> None:
    """Make ``["vid2vid_hub", "ClassName"]`` a component that diffusers loads, from a folder and from the Hub alike.

    diffusers knows the libraries whose components a pipeline may hold by name. Without this, a pipeline of ours saves
    and loads locally and then fails from the Hub, because the component is taken for code inside the repo.
    """
    methods = {"Vid2VidModel": ["save_pretrained", "from_pretrained"]}
    pipeline_loading_utils.LOADABLE_CLASSES["vid2vid_hub"] = methods
    pipeline_loading_utils.ALL_IMPORTABLE_CLASSES.update(methods)


_register()
