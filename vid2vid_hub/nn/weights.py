"""Weights that others trained: a safetensors file on this machine, or the one of a repo on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vid2vid_hub.errors import ModelError

ON_THE_HUB = "model.safetensors"
_REPO = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)")


def read_weights(source: str | Path, what: str, prefixes: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, on the CPU and in the precision in which they are stored.

    Args:
        source: a local file, or "org/name" of a Hub repo that holds ``model.safetensors``; a file comes first.
        what: whose weights they are, for messages.
        prefixes: how the names of the wanted tensors begin; the rest of the file is not read.

    Raises:
        ModelError: there is no such file, the Hub does not have it or cannot be asked, or it is no safetensors file.
    """
    path = Path(source)
    if not path.is_file():
        if not _REPO.fullmatch(str(source)):
            raise ModelError(
                f"there is no file {source} with the weights of {what}; give a safetensors file, or org/name on the Hub"
            )
        path = _from_hub(str(source), what)
    try:
        with safe_open(path, "pt") as held:
            return {name: held.get_tensor(name) for name in held.keys() if name.startswith(prefixes)}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the {what} weights {source} cannot be read as safetensors: {brief(error)}") from error


def brief(error: BaseException) -> str:
    """The first words of an error, without the line breaks and key lists of torch."""
    return " ".join(str(error).split())[:200]


def _from_hub(repo: str, what: str) -> Path:
    try:
        return Path(hf_hub_download(repo, ON_THE_HUB))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"there is no file {repo} here with the weights of {what} and no such repo on the Hub; "
            "give a safetensors file, or org/name; if it is private, log in with: hf auth login"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"the weights of {what} were to come from {repo} on the Hub, which were not downloaded before, "
            "and the Hub cannot be asked now; connect, or give a safetensors file"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(
            f"{repo} on the Hub holds no {ON_THE_HUB} with the weights of {what}; give another repo or a file"
        ) from error
    except OSError as error:
        raise ModelError(
            f"the weights of {what} cannot be downloaded from {repo} on the Hub: {brief(error)}; "
            "try again, or give a safetensors file"
        ) from error
