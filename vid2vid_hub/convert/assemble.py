"""Opened files to the networks of one pipeline: which is which, what they read, and what they are to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vid2vid_hub.convert.appearance import centres, encoder, is_styled, styled_generator
from vid2vid_hub.convert.found import Found
from vid2vid_hub.convert.image import image_generator
from vid2vid_hub.convert.judges import discriminator, judged_frames
from vid2vid_hub.convert.names import refuse
from vid2vid_hub.convert.network import Plan, with_blind_channel, with_features
from vid2vid_hub.convert.task import fitting
from vid2vid_hub.convert.video import video_generator
from vid2vid_hub.errors import ModelError
from vid2vid_hub.nn.appearance import AppearanceEncoder
from vid2vid_hub.nn.discriminator import IMAGE, REGION, video_judge
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.pipeline import Vid2VidPipeline
from vid2vid_hub.tasks import Task

MOST_PARTS = 256
"""Classes of an encoder without recorded features, where the task does not tell how many it has."""

Held = Mapping[Path, Mapping[str, Tensor]]
"""File -> what it holds."""


@dataclass
class Networks:
    """All that the files hold, as ours.

    Attributes:
        generator: of the sequence, or of single images.
        first_frame: of single images, beside the former.
        appearance: the encoder that either of them needs.
        judges: discriminators by the trainer's names.
        frames: K, that D_V judges together; 0 without any.
        notes: what a person should know.
    """

    generator: Plan
    first_frame: Plan | None = None
    appearance: Plan | None = None
    judges: dict[str, Plan] = field(default_factory=dict)
    frames: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def single(self) -> bool:
        """Whether the generator makes single images."""
        return "history" not in self.generator.config

    def plans(self) -> dict[str, Plan]:
        """By their names in a pipeline or a recipe."""
        own = {"generator": self.generator, "first_frame": self.first_frame, "appearance": self.appearance}
        return {name: plan for name, plan in (own | self.judges).items() if plan is not None}

    def pipeline(self, task: Task, size: tuple[int, int] | None) -> Vid2VidPipeline:
        """The pipeline of them."""
        return Vid2VidPipeline(
            self.generator.build(Pix2PixHDGenerator) if self.single else self.generator.build(Vid2VidGenerator),
            task,
            size=size,
            first_frame=None if self.first_frame is None else self.first_frame.build(Pix2PixHDGenerator),
            appearance=None if self.appearance is None else self.appearance.build(AppearanceEncoder),
        )


def assemble(
    held: Held, found: Found, first: Found | None, task: str | None, task_config: Mapping[str, Any] | None
) -> tuple[Networks, Task]:
    """The networks, and the task that they were trained for; arguments as in :func:`vid2vid_hub.convert.convert`.

    Raises:
        ModelError: a key has no place, a place has no key, or the files do not belong together.
        TaskError: there is no such task, or it refuses a setting.
    """
    problems: list[str] = []
    image = first or (found if found.image is not None else None)
    single = None if image is None else _image(image, held, problems)
    if found.scales:
        config, state = video_generator([held[path] for path in found.scales], problems)
        networks = Networks(Plan(config, state), first_frame=single)
    elif single is not None and first is None:
        networks = Networks(single)
    else:
        raise ModelError(f"{found.folder} holds no generator: there is nothing that a first frame could begin")
    networks.judges, networks.frames = _judges(found, held, problems)
    refuse(problems)
    reads = networks.generator.config
    meant = fitting(reads["condition_channels"], reads.get("foreground", False), task, task_config)
    if networks.first_frame is not None:
        networks.first_frame = _agreeing(networks, networks.first_frame)
    if image is not None and image.encoder is not None:
        networks.appearance = _appearance(image, held, meant, networks.notes)
    ignored = [name for one in (found, first) if one is not None for name in one.ignored]
    networks.notes += [f"{name} is no network that we know, and was left" for name in ignored]
    return networks, meant


def _image(found: Found, held: Held, problems: list[str]) -> Plan:
    """The generator of single images; it may read features of appearance in either release's way."""
    path = found.image
    assert path is not None, "look() and its callers see to it"
    styled = is_styled(held[path])
    config, state = (styled_generator if styled else image_generator)(held[path], path.name, problems)
    if styled and found.encoder is None:
        raise ModelError(
            f"{path} reads features of appearance, and there is no {found.epoch}_net_E.pth beside it that gives them"
        )
    if styled or found.encoder is None or problems:
        return Plan(config, state)
    of_encoder, _ = encoder(held[found.encoder], found.encoder.name, problems)
    return with_features(Plan(config, state), of_encoder["channels"])


def _judges(found: Found, held: Held, problems: list[str]) -> tuple[dict[str, Plan], int]:
    """Discriminators by the trainer's names, and K."""
    made: dict[str, Plan] = {}
    judged: dict[str, int] = {}
    for name, path in found.judges.items():
        of_video = name.startswith("D_T")
        judged[name] = judged_frames(held[path], path.name) if of_video else 0
        made[name] = Plan(*discriminator(held[path], path.name, problems, judged[name]))
    in_time = sorted(name for name in made if name.startswith("D_T"))
    for number, name in enumerate(in_time):
        first = in_time[0]
        if name != f"D_T{number}" or (made[name].config, judged[name]) != (made[first].config, judged[first]):
            raise ModelError(
                f"{name} of {found.folder} does not go on from {first}: all must be alike, and none missing"
            )
    frames = judged[in_time[0]] if in_time else 0
    ours = {"D": IMAGE, "D_f": REGION} | {name: video_judge(frames**number) for number, name in enumerate(in_time)}
    return {ours[name]: plan for name, plan in made.items()}, frames


def _agreeing(networks: Networks, first_frame: Plan) -> Plan:
    """The network for first frames, if need be with the one channel that the other sees more.

    Raises:
        ModelError: they read other conditions.
    """
    reads, all_read = first_frame.config["condition_channels"], networks.generator.config["condition_channels"]
    if reads == all_read:
        return first_frame
    if reads + 1 != all_read:
        raise ModelError(
            f"the network for first frames reads {reads} channels for each condition, the generator {all_read}; they "
            "are of different tasks"
        )
    networks.notes.append(
        f"the network for first frames does not see the last of the {all_read} condition channels: weight 0"
    )
    return with_blind_channel(first_frame)


def _appearance(found: Found, held: Held, task: Task, notes: list[str]) -> Plan:
    """E, with what was recorded with it."""
    path = found.encoder
    assert path is not None, "its caller has seen it"
    classes = MOST_PARTS if task.labels is None else 1 + max(task.labels.names)
    problems: list[str] = []
    config, state = encoder(held[path], path.name, problems, classes=classes)
    refuse(problems)
    if found.features is None:
        notes.append(f"beside {path.name} are no recorded features (features*.npy): every look is 0")
        return Plan(config, state)
    recorded = {int(key.removeprefix("label.")): array for key, array in held[found.features].items()}
    known = centres(recorded, config["channels"])
    # Who tells how many classes there are has looks for all of them; else the recorded ones are all there are.
    return Plan(*encoder(held[path], path.name, problems, known, 1 if task.labels is None else classes))
