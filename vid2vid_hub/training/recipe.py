"""The recipe: everything that decides a training, as plain values beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vid2vid_hub.errors import RecipeError
from vid2vid_hub.losses import Adversarial
from vid2vid_hub.nn.discriminator import Norm

FirstFrames = Literal["real", "generated", "zeros"]


def _check_share(name: str, value: float, open_end: bool = False) -> None:
    if not 0 <= value <= 1 or (open_end and value == 1):
        raise RecipeError(f"{name} is {value}; it must be between 0 and 1{', and less than 1' if open_end else ''}")


def _check_least(low: float, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value < low:
            raise RecipeError(f"{name} is {value}; it must be {low} or more")


@dataclass(frozen=True)
class StageRecipe:
    """One stretch of the schedule: the paper trains from low to full resolution and from few frames to many.

    Attributes:
        epochs: how many epochs it lasts.
        width: of the training frames, pixels.
        height: of the training frames, pixels.
        scales: spatial scales of the generator that take part, coarsest first; null for all of them.
        frozen: how many of those, coarsest first, do not learn.
        frames: clip length at the stage's first epoch.
        double_every: epochs after which the clip length doubles, again and again; null keeps it.
        max_frames: where the doubling of the clip length ends.
        unroll: frames that one back-propagation spans, at the first epoch; a chunk of the clip.
        max_unroll: where ``unroll``, which doubles with the clip length, ends; null keeps it.
        batch: clips a step, on each process.
    """

    epochs: int
    width: int
    height: int
    scales: int | None = None
    frozen: int = 0
    frames: int = 6
    double_every: int | None = None
    max_frames: int | None = None
    unroll: int = 3
    max_unroll: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        _check_least(0, frozen=self.frozen)
        _check_least(1, **{name: value for name, value in vars(self).items() if name != "frozen"})
        if self.scales is not None and self.frozen >= self.scales:
            raise RecipeError(f"frozen is {self.frozen} of {self.scales} scales; at least one must learn")
        if self.double_every is None and (self.max_frames or self.max_unroll):
            raise RecipeError("max_frames and max_unroll end a doubling; double_every, which begins it, is not given")


@dataclass(frozen=True)
class OptimizerRecipe:
    """Adam, for generator and discriminators. The rates fall linearly to zero over the last ``decay`` epochs.

    Attributes:
        rate: of the generator.
        discriminator_rate: of all discriminators; null for the generator's.
        beta1: Adam's.
        beta2: Adam's.
        decay: epochs at the end of the training over which both rates fall.
        clip: largest norm of a network's gradient; null does not clip.
        accumulate: chunks whose gradients are added up for a step; the last step of an epoch may have fewer.
    """

    rate: float = 2e-4
    discriminator_rate: float | None = None
    beta1: float = 0.5
    beta2: float = 0.999
    decay: int = 0
    clip: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("rate", "discriminator_rate", "clip"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise RecipeError(f"{name} is {value}; it must be over 0")
        _check_least(0, decay=self.decay)
        _check_least(1, accumulate=self.accumulate)
        _check_share("beta1", self.beta1, open_end=True)
        _check_share("beta2", self.beta2, open_end=True)


@dataclass(frozen=True)
class VideoDiscriminatorRecipe:
    """D_V: one network for each temporal stride 1, K, K^2, ...

    Attributes:
        strides: how many strides, each K times the one before; 0 trains without D_V.
        frames: K, frames that are judged together.
        base_channels: as in ``MultiscaleDiscriminator``.
        layers: as there.
        scales: as there.
        norm: as there.
    """

    strides: int = 3
    frames: int = 3
    base_channels: int = 64
    layers: int = 3
    scales: int = 2
    norm: Norm = "instance"

    def __post_init__(self) -> None:
        _check_least(0, strides=self.strides)
        _check_least(2, frames=self.frames)


@dataclass(frozen=True)
class RegionDiscriminatorRecipe:
    """A discriminator for where the task says people look first (its ``regions``).

    Attributes:
        size: side in pixels to which a region is brought before it is judged.
        base_channels: as in ``MultiscaleDiscriminator``.
        layers: as there.
        scales: as there.
        norm: as there.
    """

    size: int = 64
    base_channels: int = 64
    layers: int = 3
    scales: int = 1
    norm: Norm = "instance"

    def __post_init__(self) -> None:
        _check_least(8, size=self.size)


@dataclass(frozen=True)
class LossRecipe:
    """The weights of the terms of eq. 5 and their companions (C.2); 0 switches a term off.

    Attributes:
        gan: eq. 6 for the generator, on the finished frame and on the hallucination.
        feature: feature matching with D_I.
        video: eq. 7 for the generator, at every temporal stride.
        video_feature: feature matching with D_V.
        region: as ``gan``, for the region discriminator.
        region_feature: feature matching with the region discriminator.
        perceptual: distance of VGG features, on the finished frame and on the hallucination. Only for pictures.
        flow: endpoint error of eq. 8.
        warp: warping error of eq. 8.
        generated_warp: the true flow must carry the last generated frame to this one. The released system gives it
            10, the paper has no such term; it rewards a mask that never hallucinates, see ``docs/log.md``.
        mask: pull towards warping where the true flow is reliable.
        cross_entropy: of frames of probabilities with the true classes, for tasks that make label maps. On the finished
            frame only: a hallucination that had to be likely everywhere smoothed what the warped past has exactly.
    """

    gan: float = 1.0
    feature: float = 10.0
    video: float = 1.0
    video_feature: float = 10.0
    region: float = 2.0
    region_feature: float = 10.0
    perceptual: float = 10.0
    flow: float = 10.0
    warp: float = 10.0
    generated_warp: float = 0.0
    mask: float = 0.0
    cross_entropy: float = 0.0

    def __post_init__(self) -> None:
        _check_least(0, **vars(self))


@dataclass(frozen=True)
class TeacherRecipe:
    """The flow teacher, for clips without cached flow: its name and, for networks, where the weights are."""

    name: str = "dis"
    weights: str | None = None


@dataclass(frozen=True)
class WatchRecipe:
    """What a person sees of a running training; decides nothing of it.

    Attributes:
        samples: steps between sample videos in ``samples/``; 0 for none.
        validation: steps between measures on the held-out clips; 0 for none.
        frames: frames of a sample video, and of each held-out clip that is measured.
        lpips: safetensors of VGG16 and the LPIPS heads, to measure with; null leaves LPIPS out.
        trackers: any of "tensorboard", "wandb", "trackio".
    """

    samples: int = 0
    validation: int = 0
    frames: int = 30
    lpips: str | None = None
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_least(0, samples=self.samples, validation=self.validation)
        _check_least(2, frames=self.frames)


@dataclass(frozen=True)
class Recipe:
    """A whole training.

    Attributes:
        task: registered task name.
        stages: the schedule, in order.
        task_config: settings of the task.
        network: "vid2vid" trains the sequential generator F, "pix2pixhd" the single-image generator whose pipeline can
            serve as ``first_frame`` of another recipe.
        start: a pipeline folder or "org/name" whose generator's scales this one starts from; null starts anew.
        judges: a folder of discriminators, one folder each, that those of the same names here start from, such as
            ``vid2vid-hub convert`` makes; null starts anew.
        first_frame: a pipeline folder or "org/name" with a single-image generator, saved with the trained pipeline and
            used for ``first_frames: generated``.
        forecaster: a pipeline folder or "org/name" with a trained forecaster, saved with the trained pipeline, so that
            it can go on with a video; it takes no part in the training.
        first_frames: share of the clips by what they begin with: "real" frames of the clip, frames "generated" by
            ``first_frame``, or "zeros", that is, nothing.
        generator: arguments of the generator beside ``condition_channels`` and ``foreground``.
        discriminator: arguments of ``MultiscaleDiscriminator`` for D_I beside ``inputs``; null for none.
        video_discriminator: D_V.
        region_discriminator: null for none.
        adversarial: "lsgan" or "hinge".
        judged: which frames of a chunk D_I sees, "every" one or a random "one" of each clip (the paper's phi_I).
        optimizer: of all networks.
        loss: the weights of the terms.
        perceptual: the network of the perceptual term: "none", "vgg16" or "vgg19".
        perceptual_weights: a safetensors file, "org/name" on the Hub, "torchvision", or null for the usual place.
        teacher: of the flow.
        flip: share of the clips that are mirrored.
        ema: decay a step of the averaged generator that is saved; 0 saves the generator itself.
        precision: "no" for float32, "bf16" for autocast in bfloat16.
        checkpointing: compute the activations of the generator twice instead of keeping them: less memory, more time.
        checkpoint_minutes: how often the run is saved.
        watch: what a person sees meanwhile.
        seed: of everything random.
    """

    task: str
    stages: tuple[StageRecipe, ...]
    task_config: dict[str, Any] = field(default_factory=dict)
    network: Literal["vid2vid", "pix2pixhd"] = "vid2vid"
    start: str | None = None
    judges: str | None = None
    first_frame: str | None = None
    forecaster: str | None = None
    first_frames: dict[str, float] = field(default_factory=lambda: {"real": 0.5, "zeros": 0.5})
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] | None = field(default_factory=dict)
    video_discriminator: VideoDiscriminatorRecipe = VideoDiscriminatorRecipe()
    region_discriminator: RegionDiscriminatorRecipe | None = None
    adversarial: Adversarial = "lsgan"
    judged: Literal["every", "one"] = "every"
    optimizer: OptimizerRecipe = OptimizerRecipe()
    loss: LossRecipe = LossRecipe()
    perceptual: Literal["none", "vgg16", "vgg19"] = "none"
    perceptual_weights: str | None = None
    teacher: TeacherRecipe = TeacherRecipe()
    flip: float = 0.5
    ema: float = 0.999
    precision: Literal["no", "bf16"] = "no"
    checkpointing: bool = False
    checkpoint_minutes: float = 10.0
    watch: WatchRecipe = WatchRecipe()
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("flip", self.flip)
        _check_share("ema", self.ema, open_end=True)
        if not self.stages:
            raise RecipeError("a recipe needs at least one stage under 'stages'")
        self._check_first_frames()

    def _check_first_frames(self) -> None:
        shares, known = self.first_frames, get_args(FirstFrames)
        if not shares or not set(shares) <= set(known) or not all(isinstance(v, int | float) for v in shares.values()):
            raise RecipeError(f"first_frames is {shares}; it must give shares to any of {', '.join(known)}")
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise RecipeError(f"first_frames is {shares}; its shares must be 0 or more and add up to 1")
        if shares.get("generated") and self.first_frame is None:
            raise RecipeError("first_frames has a share of 'generated', but first_frame names no pipeline to make them")


def without_paths(recipe: Recipe) -> Recipe:
    """The recipe as it is published: files and folders of one machine by their names only."""

    def bare(where: str | None) -> str | None:
        return Path(where).name if where and Path(where).exists() else where

    return replace(
        recipe,
        start=bare(recipe.start),
        judges=bare(recipe.judges),
        first_frame=bare(recipe.first_frame),
        forecaster=bare(recipe.forecaster),
        perceptual_weights=bare(recipe.perceptual_weights),
        teacher=replace(recipe.teacher, weights=bare(recipe.teacher.weights)),
        watch=replace(recipe.watch, lpips=bare(recipe.watch.lpips)),
    )
