"""What a pipeline is beside what it generates: a folder or Hub repo that is loaded, saved, previewed and published."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast

from diffusers import DiffusionPipeline
from huggingface_hub import CommitInfo

from vid2vid_hub.conditions import find
from vid2vid_hub.errors import ModelError
from vid2vid_hub.folder import check, check_index
from vid2vid_hub.hub.carry import carry
from vid2vid_hub.hub.contents import find_sample
from vid2vid_hub.hub.preview import write_preview
from vid2vid_hub.hub.push import push_folder
from vid2vid_hub.hub.snapshot import fetch
from vid2vid_hub.nn.model import OPTIONS, loading, portable, sort_options
from vid2vid_hub.nn.remote import HUB_OPTIONS
from vid2vid_hub.tasks import Task

PREVIEWED = 75
"""Frames of a future that a preview shows."""


class SavedPipeline(DiffusionPipeline):
    """The base of :class:`vid2vid_hub.pipeline.Vid2VidPipeline`, which generates; alone it is no pipeline."""

    task: Task
    _folder: Path | None = None
    """Where it was loaded from: a folder that a person gave, or the snapshot of a Hub repo."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Self:
        """Load a pipeline folder or a Hub repo. Nothing but JSON and safetensors is read, and no code is ever run.

        Everything is checked before anything is allocated; of a repo, only what is needed is downloaded, and proven to
        be what the Hub says. diffusers' own loader finds this class once it has been imported::

            from diffusers import DiffusionPipeline
            from vid2vid_hub import Vid2VidPipeline  # this line is what makes the next one work
            pipeline = DiffusionPipeline.from_pretrained("org/name")

        Args:
            pretrained_model_name_or_path: a folder, or "org/name" on the Hub.
            **kwargs: ``revision``, ``variant``, ``token``, ``cache_dir``, ``local_files_only``, ``force_download``,
                ``dtype``, ``device_map`` and what else :data:`vid2vid_hub.nn.model.OPTIONS` names, as in
                ``diffusers.DiffusionPipeline.from_pretrained``; or an argument of this class, a network or a setting,
                in place of the one in the folder.

        Raises:
            ModelError: the folder or repo is not there, is incomplete, or holds something else than it should.
            TaskError: its task is not installed.
        """
        options, changes = sort_options(kwargs, OPTIONS, signature(cls).parameters)
        variant, source = options.get("variant"), str(pretrained_model_name_or_path)
        hub = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        folder = Path(pretrained_model_name_or_path)
        with loading(source, "a vid2vid pipeline"):
            if not folder.exists() and source.count("/") == 1:
                folder = fetch(source, cls, variant=variant, given=changes, **hub)
            check(folder, cls, variant, changes, source)
            loaded = cast(Self, super().from_pretrained(str(folder), **options, **changes))
        loaded.register_to_config(_name_or_path=source)
        loaded._folder = folder
        return loaded

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Sort ``model_index.json`` into arguments; see ``diffusers.ConfigMixin.extract_init_dict``.

        On the way through diffusers' own loader this is the first call of ours, and before any network is loaded.

        Raises:
            ModelError: it holds something beside a pipeline of ours.
        """
        check_index(config_dict, cls, "the pipeline", given=("task",))
        return super().extract_init_dict(config_dict, **kwargs)

    def to_json_string(self) -> str:
        """``model_index.json``; see :func:`vid2vid_hub.nn.model.portable`."""
        return portable(super().to_json_string())

    def save_pretrained(self, save_directory: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the folder: ``model_index.json``, a folder of safetensors for every network, and what belongs to them.

        Args:
            save_directory: the folder; made where it is missing.
            safe_serialization: True.
            **kwargs: ``variant`` and ``max_shard_size``, as in ``diffusers.DiffusionPipeline.save_pretrained``.

        Raises:
            ModelError: a pickle was asked for, or the folder cannot be written.
        """
        if not safe_serialization:
            raise ModelError("weights are saved as safetensors only; leave safe_serialization as it is")
        if kwargs.pop("push_to_hub", False):
            raise ModelError('a pipeline is published with push_to_hub("org/name"), which writes its card')
        try:
            super().save_pretrained(save_directory, safe_serialization=True, **kwargs)
            carry(self._folder, Path(save_directory), self.task.name)
        except OSError as error:
            raise ModelError(f"the pipeline cannot be written to {save_directory}: {error}") from error

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        *,
        revision: str | None = None,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        rights: bool = False,
    ) -> CommitInfo:
        """Publish the pipeline with a card; see :func:`vid2vid_hub.hub.push.push_folder` for what is sent and what not.

        Args:
            repo_id: "org/name"; made where there is no such repo.
            commit_message: what the commit is called.
            private: whether a new repo is private.
            token: None is HF_TOKEN, or who is logged in.
            create_pr: open a pull request instead of changing the main branch.
            revision: a branch, made where it is missing; None is the main one.
            variant: "fp16" also publishes the weights in half precision.
            max_shard_size: the most bytes of a file of weights, such as "2GB"; larger ones are split.
            rights: you may publish weights that were converted from others' checkpoints.

        Returns:
            The commit, which is its address, too.

        Raises:
            ModelError: it cannot be published, or the Hub does not let it be; what to do.
        """
        if variant not in (None, "fp16"):
            raise ModelError(f"variant is '{variant}'; beside the plain weights fp16 can be published, and no other")
        with TemporaryDirectory(prefix="vid2vid-hub-") as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return push_folder(
                Path(folder),
                repo_id,
                private=private,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message,
                token=token,
                rights=rights,
                fp16=variant == "fp16",
                preview=self.write_preview,
            ).commit

    @property
    def sample(self) -> Path | None:
        """The condition to try that came with the pipeline, if one did."""
        return None if self._folder is None else find_sample(self._folder)

    def write_preview(self, path: Path) -> None:
        """Write what a card shows: the sample's condition on the left, what the pipeline makes of it on the right.

        Args:
            path: an .mp4 file.

        Raises:
            ModelError: the pipeline came without a sample.
            VideoError, ConditionError, TaskError: as in :meth:`stream`.
        """
        sample = self.sample
        if sample is None:
            raise ModelError("there is no sample to make a preview of; put a condition, sample.*, into the folder")
        conditions, observed = find(self.task, sample), 0
        if self.forecaster is not None:
            past = self.past(condition=sample)
            conditions, observed = self.ahead(past, PREVIEWED), len(past.condition)
        write_preview(path, self.task, conditions, lambda driving: self.stream(condition=driving), skip=observed)
