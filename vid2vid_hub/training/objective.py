"""Eq. 5 for one chunk: every discriminator and every loss in turn, each leaving its gradient on the generated frames.

A term that looks at generated frames looks at leaves, copies cut off from the generator's graph, and is walked backward
at once. So the graphs of the discriminators and of VGG live one after another and never together; real and generated
frames go through a discriminator once, for both players; and the generator's own graph is walked once, at the end.
The gradients are those of the sum in eq. 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid_hub import losses
from vid2vid_hub.nn.discriminator import IMAGE, REGION, Judged
from vid2vid_hub.nn.frozen import FlowTeacher
from vid2vid_hub.nn.heads import FLOW_RANGE
from vid2vid_hub.nn.perceptual import VGG
from vid2vid_hub.ops.crop import crop
from vid2vid_hub.ops.windows import history_length, temporal_windows
from vid2vid_hub.training.chunk import Chunk, Past
from vid2vid_hub.training.networks import strides
from vid2vid_hub.training.recipe import Recipe
from vid2vid_hub.types import Frame

PERCEPTUAL_WIDTH = 1024
"""Wider pictures are halved before VGG sees them (C.2): its receptive field is made for smaller ones."""

Judge = Callable[..., list[Judged]]
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Question:
    """What a discriminator is asked: to tell real pictures (N, C, H, W) from fakes, all given a condition (N, S, H, W).

    Attributes:
        condition: of all of them.
        real: the real ones.
        fakes: one or more sets of generated ones.
        weight: of the terms that come of it; 0 for a question that is only asked so that all processes ask the same.
    """

    condition: Tensor
    real: Tensor
    fakes: tuple[Tensor, ...]
    weight: float = 1.0


class Objective:
    """All terms of a recipe.

    Args:
        recipe: which terms there are, and their weights.
        judges: the discriminators by name; networks, or what distributes them.
        vgg: of the perceptual term; None without it.
        teacher: estimates the flow between real frames that are further apart than one, for D_V at such strides.
        backward: called with a scalar that is to be walked backward to parameters.
        autocast: a context for networks that are called here.

    Attributes:
        reach: how many frames of the past D_V needs.
    """

    def __init__(
        self,
        recipe: Recipe,
        judges: Mapping[str, Judge],
        vgg: VGG | None = None,
        teacher: FlowTeacher | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.recipe, self.judges, self.vgg, self.teacher = recipe, judges, vgg, teacher
        self.backward, self.autocast = backward, autocast
        weights = recipe.loss
        self.weights = {IMAGE: (weights.gan, weights.feature), REGION: (weights.region, weights.region_feature)}
        self.weights |= dict.fromkeys(strides(recipe), (weights.video, weights.video_feature))
        self.reach = history_length(recipe.video_discriminator.frames, recipe.video_discriminator.strides)

    def __call__(self, chunk: Chunk, rollout: Frame, past: Past, last: Tensor) -> Terms:
        """Leave the gradient of eq. 5 on the parameters of the generator and of all discriminators.

        Args:
            chunk: what is real.
            rollout: what was generated, with the generator's graph.
            past: what D_V saw before.
            last: (B, 3, H, W), the generated frame before the chunk.

        Returns:
            Every term without its weight, a scalar without a graph, by its name.
        """
        leaves = rollout.map(lambda tensor: tensor.detach().float().requires_grad_(tensor.requires_grad))
        terms: Terms = {}
        for name, question in self._questions(chunk, leaves, past):
            terms |= self._ask(name, question)
        if self.vgg is not None:
            terms |= self._perceptual(self.vgg, chunk, leaves)
        terms |= self._direct(chunk, leaves, last)
        # An output that no term looked at pulls by nothing: several processes wait for whatever it was made from.
        pulls = [
            (getattr(rollout, f.name).float() * (0.0 if leaf.grad is None else leaf.grad)).sum()
            for f in fields(Frame)
            if (leaf := getattr(leaves, f.name)) is not None and leaf.requires_grad
        ]
        if pulls:
            self.backward(torch.stack(pulls).sum())
        return terms

    def _questions(self, chunk: Chunk, leaves: Frame, past: Past) -> Iterator[tuple[str, Question]]:
        if IMAGE in self.judges:
            yield IMAGE, self._about_frames(chunk, leaves)
        for name, scale in strides(self.recipe).items():
            question = self._about_time(chunk, leaves, past, scale)
            if question is not None:
                yield name, question
        if self.recipe.region_discriminator is not None and chunk.boxes is not None:
            yield REGION, self._about_regions(chunk, leaves, chunk.boxes)

    def _about_frames(self, chunk: Chunk, leaves: Frame) -> Question:
        """Eq. 6: frames given their conditions. The hallucination is judged too where it is not the frame itself."""
        batch, length = chunk.frames.shape[:2]
        chosen = torch.arange(length).expand(batch, -1)
        if self.recipe.judged == "one":
            chosen = torch.randint(length, (batch, 1))
        rows = torch.arange(batch)[:, None]

        def pick(x: Tensor) -> Tensor:
            return x[rows, chosen].flatten(0, 1)

        fakes = (leaves.image,) if leaves.mask is None else (leaves.image, leaves.hallucinated)
        return Question(pick(chunk.encoded.features), pick(chunk.frames), tuple(pick(fake) for fake in fakes))

    def _about_time(self, chunk: Chunk, leaves: Frame, past: Past, scale: int) -> Question | None:
        """Eq. 7: K frames given the K-1 flows between the real ones; None while the clip is too young."""
        count = self.recipe.video_discriminator.frames
        windows = temporal_windows(past.real.shape[1], chunk.frames.shape[1], count, scale)
        if not windows:
            return None
        index = torch.tensor(windows)
        real, made = torch.cat((past.real, chunk.frames), 1), torch.cat((past.made, leaves.image), 1)
        if scale == 0:
            flow = torch.cat((past.flow, chunk.flow), 1)[:, index[:, 1:]]
        else:
            flow = self._far_flow(real[:, index[:, :-1]], real[:, index[:, 1:]])

        def join(x: Tensor) -> Tensor:
            """(B, windows, K, C, H, W) to (B · windows, K · C, H, W)."""
            return x.flatten(0, 1).flatten(1, 2)

        return Question(join(flow) / FLOW_RANGE, join(real[:, index]), (join(made[:, index]),))

    def _far_flow(self, before: Tensor, after: Tensor) -> Tensor:
        if self.teacher is None:
            raise ValueError("D_V at strides over one needs a flow teacher")
        flow = self.teacher.flow(before.flatten(0, 2), after.flatten(0, 2))
        return flow.reshape(*after.shape[:3], *flow.shape[1:])

    def _about_regions(self, chunk: Chunk, leaves: Frame, boxes: Tensor) -> Question:
        """Eq. 6 where people look first; a frame without a region has a term of 0 there.

        So the terms are means over frames, not over regions: whoever has more regions in a batch counts for more of it,
        whether one process has the batch or several.
        """
        boxes = boxes.flatten(0, 1)
        there = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        weight = float(there.float().mean())
        if not weight:
            there[0] = True
            boxes = boxes.clone()
            boxes[0] = boxes.new_tensor((0, 0, chunk.frames.shape[-1], chunk.frames.shape[-2]))
        size = self.recipe.region_discriminator.size if self.recipe.region_discriminator else 0
        pictures = (chunk.encoded.features, chunk.frames, leaves.image)
        condition, real, fake = (crop(x.flatten(0, 1)[there].float(), boxes[there], size) for x in pictures)
        return Question(condition, real, (fake,), weight)

    def _ask(self, name: str, question: Question) -> Terms:
        """Both players' terms of one discriminator, from one pass over real and generated pictures."""
        # D's own loss reaches the pictures too: it must end at copies, or the generator would learn to be told apart.
        shown = [fake.detach().requires_grad_() for fake in question.fakes]
        verdicts = self.judges[name](question.condition, question.real, *shown)
        real, *fakes = ([[m.float() for m in maps] for maps in verdict] for verdict in verdicts)
        kind = self.recipe.adversarial
        gan = question.weight * _sum(losses.gan_generator(fake, kind) for fake in fakes)
        feature = question.weight * _sum(losses.feature_matching(real, fake) for fake in fakes)
        loss = question.weight * _sum(losses.gan_discriminator(real, fake, kind) for fake in fakes)
        of_gan, of_feature = self.weights[name]
        if of_gan or of_feature:
            pull = of_gan * gan + of_feature * feature
            torch.autograd.backward(question.fakes, torch.autograd.grad(pull, shown, retain_graph=True))
        self.backward(loss)
        prefix = "" if name == IMAGE else f"{name}_"
        found = {f"{prefix}gan": (of_gan, gan), f"{prefix}feature": (of_feature, feature)}
        terms = {term: value.detach() for term, (weight, value) in found.items() if weight}
        return terms | {f"{prefix}discriminator": loss.detach()}

    def _perceptual(self, vgg: VGG, chunk: Chunk, leaves: Frame) -> Terms:
        fakes = [leaves.image] if leaves.mask is None else [leaves.image, leaves.hallucinated]
        real, made = (_narrow(x.flatten(0, 1)) for x in (chunk.frames, torch.cat(fakes)))
        with self.autocast():
            with torch.no_grad():
                of_real = [m.float() for m in vgg(real)]
            of_made = [m.float() for m in vgg(made)]
        kinds = zip(*(m.chunk(len(fakes)) for m in of_made), strict=True)
        term = _sum(losses.perceptual(of_real, list(maps)) for maps in kinds)
        (self.recipe.loss.perceptual * term).backward(inputs=_made(leaves))
        return {"perceptual": term.detach()}

    def _direct(self, chunk: Chunk, leaves: Frame, last: Tensor) -> Terms:
        """Eq. 8 and its companions: what needs no network."""
        truth, trust = chunk.flow.flatten(0, 1), chunk.trust.flatten(0, 1)
        real, before = chunk.frames.flatten(0, 1), chunk.previous.flatten(0, 1)
        weights = self.recipe.loss
        terms: Terms = {}
        if leaves.flow is not None and leaves.flow.requires_grad:
            flow = leaves.flow.flatten(0, 1)
            if weights.flow:
                terms["flow"] = losses.flow_endpoint(flow, truth, trust)
            if weights.warp:
                terms["warp"] = losses.flow_warping(flow, before, real, trust)
        if weights.mask and leaves.mask is not None and leaves.mask.requires_grad:
            terms["mask"] = losses.mask_pull(leaves.mask.flatten(0, 1), trust)
        if weights.generated_warp:
            made_before = torch.cat((last[:, None].float(), leaves.image[:, :-1]), 1).flatten(0, 1)
            terms["generated_warp"] = losses.generated_warping(leaves.image.flatten(0, 1), made_before, truth, trust)
        if weights.cross_entropy:
            terms["cross_entropy"] = losses.cross_entropy(leaves.image.flatten(0, 1), real)
        if terms:
            _sum(getattr(weights, name) * term for name, term in terms.items()).backward()
        return {name: term.detach() for name, term in terms.items()}


def _made(leaves: Frame) -> list[Tensor]:
    return [leaves.image, leaves.hallucinated]


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()


def _narrow(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, 2) if pictures.shape[-1] > PERCEPTUAL_WIDTH else pictures
