"""Eq. 5 on the drawn world: the gradients of the plain sum to nine digits, and what each discriminator is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.walks import cut
from vid2vid_hub import losses
from vid2vid_hub.data.clips import collate
from vid2vid_hub.data.toy import ToyShapes, ToyWorld
from vid2vid_hub.nn.discriminator import IMAGE, REGION, Judged, MultiscaleDiscriminator
from vid2vid_hub.nn.frozen import DISFlow
from vid2vid_hub.nn.generator import Vid2VidGenerator
from vid2vid_hub.nn.image import Pix2PixHDGenerator
from vid2vid_hub.ops.crop import crop
from vid2vid_hub.ops.windows import temporal_windows
from vid2vid_hub.training.chunk import Chunk, Past, Walk
from vid2vid_hub.training.networks import Generator, build_judges, strides
from vid2vid_hub.training.objective import Objective
from vid2vid_hub.training.parse import parse_recipe
from vid2vid_hub.training.recipe import LossRecipe, Recipe
from vid2vid_hub.training.walk import Place, begin, walk_clip
from vid2vid_hub.types import Encoded, Frame, Memory

SMALL = {"base_channels": 4, "layers": 1}
TEACHER = DISFlow()
# Of different sizes, so that no term can stand in for another.
WEIGHTS = {
    "gan": 1.5,
    "feature": 10.0,
    "video": 0.7,
    "video_feature": 8.0,
    "region": 2.0,
    "region_feature": 9.0,
    "perceptual": 11.0,
    "flow": 5.0,
    "warp": 6.0,
    "generated_warp": 3.0,
    "mask": 2.5,
    "cross_entropy": 4.0,
}
NOTHING = dict.fromkeys(WEIGHTS, 0.0)


def asked(**changes: Any) -> Recipe:
    return parse_recipe(
        {"task": "toy", "stages": [{"epochs": 1, "width": 48, "height": 32}], "loss": WEIGHTS}
        | {"discriminator": SMALL, "video_discriminator": SMALL | {"strides": 2, "scales": 1}}
        | {"region_discriminator": SMALL | {"size": 8}}
        | changes
    )


class FiveDepths(nn.Module):
    """Stands for VGG: five maps, each of half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 3, 3, 2, 1) for _ in range(5)])
        self.requires_grad_(False)
        self.seen: list[Tensor] = []

    def forward(self, pictures: Tensor) -> list[Tensor]:
        self.seen.append(pictures)
        maps = []
        for layer in self.layers:
            pictures = layer(pictures).tanh()
            maps.append(pictures)
        return maps


GENERATORS: dict[str, Callable[[], Generator]] = {
    "whole": lambda: Vid2VidGenerator(6, base_channels=4, downsamples=1, blocks=2, foreground=True),
    "without flow": lambda: Vid2VidGenerator(6, base_channels=4, downsamples=1, blocks=2, flow=False),
    "with given flow": lambda: Vid2VidGenerator(6, base_channels=4, downsamples=1, blocks=2, given_flow=True),
    "single images": lambda: Pix2PixHDGenerator(6, base_channels=4, downsamples=1, blocks=1),
}


class Moment:
    """Two clips of the drawn world, walked to frames 6 and 7, which a generator has just made.

    Everything is float64: the objective takes pictures to float32, which hides differences as large as small terms.
    """

    def __init__(self, kind: str, recipe: Recipe) -> None:
        torch.manual_seed(0)
        self.recipe = recipe
        self.generator = GENERATORS[kind]().double()
        self.vgg = FiveDepths().double()
        self.judges = {name: judge.double() for name, judge in build_judges(recipe, ToyShapes()).items()}
        clip = collate([ToyWorld(seed, 32, 48).draw(8).clip for seed in (0, 1)])
        walk = walk_clip(ToyShapes(), clip, self.generator, TEACHER)
        given = [None if x is None else x.double() for x in vars(walk.encode(0, walk.length)).values()]
        boxes = walk.boxes.clone()
        boxes[1, 7] = 0  # one of the frames has nothing to look at
        self.walk = Walk(walk.frames.double(), cut(Encoded(*given)), walk.flow.double(), walk.trust.double(), boxes)
        place, self.made = begin(self.walk, self.generator, "zeros"), []
        with torch.no_grad():
            for start in (0, 2, 4):
                chunk = self.walk.chunk(start, start + 2)
                rollout, memory = self.generator(chunk.encoded, place.memory)
                place = place.after(chunk, rollout, memory, reach=6)
                self.made.append(rollout.image)
        self.place, self.chunk = place, self.walk.chunk(6, 8)
        self.rollout, _ = self.generator(self.chunk.encoded, place.memory)

    def objective(self, **options: Any) -> Objective:
        vgg = self.vgg if self.recipe.loss.perceptual else None
        return Objective(self.recipe, self.judges, vgg, TEACHER, **options)

    def leave(self, **options: Any) -> dict[str, Tensor]:
        """Let the objective leave its gradients; returns its terms."""
        last = self.place.last(self.chunk)
        return self.objective(**options)(self.chunk, self.rollout, self.place.past, last)

    def parameters(self) -> dict[str, Tensor]:
        networks = {"generator": self.generator} | self.judges
        return {f"{name}.{key}": p for name, network in networks.items() for key, p in network.named_parameters()}

    def gradients(self) -> dict[str, Tensor]:
        return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self.parameters().items()}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what the objective takes to float32 be float64."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)


class Asked(NamedTuple):
    """A discriminator's name, a condition, real pictures and generated ones, and the share that their terms count."""

    name: str
    condition: Tensor
    real: Tensor
    fakes: list[Tensor]
    share: float = 1.0


def questions(moment: Moment, image: Tensor, hallucinated: Tensor) -> Iterator[Asked]:
    """Who is asked about what, written out: windows by their frame numbers, regions box by box."""
    walk, chunk = moment.walk, moment.chunk
    fakes = [image] if moment.rollout.mask is None else [image, hallucinated]
    yield Asked(
        IMAGE,
        chunk.encoded.features.flatten(0, 1),
        chunk.frames.flatten(0, 1),
        [fake.flatten(0, 1) for fake in fakes],
    )
    made = torch.cat((*moment.made, image), 1)
    yield Asked(
        "video_x1",
        torch.cat((walk.flow[:, 6], walk.flow[:, 7]), 1) / 20,
        torch.cat((walk.frames[:, 5], walk.frames[:, 6], walk.frames[:, 7]), 1),
        [torch.cat((made[:, 5], made[:, 6], made[:, 7]), 1)],
    )
    far = [TEACHER.flow(walk.frames[:, t - 3], walk.frames[:, t]) for t in (4, 7)]
    yield Asked(
        "video_x3",
        torch.cat(far, 1) / 20,
        torch.cat((walk.frames[:, 1], walk.frames[:, 4], walk.frames[:, 7]), 1),
        [torch.cat((made[:, 1], made[:, 4], made[:, 7]), 1)],
    )
    there = [(b, t) for b in (0, 1) for t in (0, 1) if chunk.boxes[b, t].any()]
    condition, real, fake = (
        torch.cat([crop(x[b, t][None], chunk.boxes[b, t][None], 8) for b, t in there])
        for x in (chunk.encoded.features, chunk.frames, image)
    )
    yield Asked(REGION, condition, real, [fake], len(there) / 4)  # the mean is over frames


def weights_of(recipe: Recipe, name: str) -> tuple[float, float]:
    kind = {IMAGE: "gan", REGION: "region"}.get(name, "video")
    feature = {"gan": "feature"}.get(kind, f"{kind}_feature")
    return getattr(recipe.loss, kind), getattr(recipe.loss, feature)


def plain_sum(moment: Moment) -> dict[str, Tensor]:
    """The gradients of eq. 5 as it stands: one graph for the generator, one for the discriminators."""
    weights, chunk, made, kind = moment.recipe.loss, moment.chunk, moment.rollout, moment.recipe.adversarial
    truth, trust = chunk.flow.flatten(0, 1), chunk.trust.flatten(0, 1)
    real, before = chunk.frames.flatten(0, 1), chunk.previous.flatten(0, 1)
    ours = made.image.sum() * 0
    for name, condition, pictures, fakes, share in questions(moment, made.image, made.hallucinated):
        of_gan, of_feature = weights_of(moment.recipe, name)
        (of_real,) = moment.judges[name](condition, pictures)
        for fake in fakes:
            (of_fake,) = moment.judges[name](condition, fake)
            ours = ours + share * of_gan * losses.gan_generator(of_fake, kind)
            ours = ours + share * of_feature * losses.feature_matching(of_real, of_fake)
    for fake in (made.image,) if made.mask is None else (made.image, made.hallucinated):
        ours = ours + weights.perceptual * losses.perceptual(moment.vgg(real), moment.vgg(fake.flatten(0, 1)))
    if made.flow is not None and not moment.generator.takes_flow:
        flow = made.flow.flatten(0, 1)
        ours = ours + weights.flow * losses.flow_endpoint(flow, truth, trust)
        ours = ours + weights.warp * losses.flow_warping(flow, before, real, trust)
    if made.mask is not None:
        ours = ours + weights.mask * losses.mask_pull(made.mask.flatten(0, 1), trust)
    made_before = torch.cat((moment.place.last(chunk)[:, None], made.image[:, :1]), 1)
    ours = ours + weights.generated_warp * losses.generated_warping(
        made.image.flatten(0, 1), made_before.flatten(0, 1), truth, trust
    )
    ours = ours + weights.cross_entropy * losses.cross_entropy(made.image.flatten(0, 1), real)
    theirs = ours.new_zeros(())
    for name, condition, pictures, fakes, share in questions(moment, made.image.detach(), made.hallucinated.detach()):
        for fake in fakes:
            (of_real,), (of_fake,) = moment.judges[name](condition, pictures), moment.judges[name](condition, fake)
            theirs = theirs + share * losses.gan_discriminator(of_real, of_fake, kind)
    parameters = moment.parameters()
    found = {}
    for loss, mine in ((ours, True), (theirs, False)):
        chosen = {name: p for name, p in parameters.items() if name.startswith("generator.") == mine}
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        found |= dict(zip(chosen, torch.autograd.grad(loss, list(chosen.values()), **options), strict=True))
    return found


def assert_alike(gradients: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(gradients) == set(expected)
    largest = max(float(g.abs().max()) for g in expected.values())
    for name, gradient in expected.items():
        difference = float((gradients[name] - gradient).abs().max())
        assert difference <= 1e-9 * max(float(gradient.abs().max()), 1e-3 * largest), name


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("adversarial", ["lsgan", "hinge"])
def test_the_gradients_are_those_of_the_plain_sum(kind: str, adversarial: str):
    """At the third chunk border, where D_V looks back through all that was made before."""
    moment = Moment(kind, asked(adversarial=adversarial))
    assert moment.chunk.trust.mean() > 0.2
    expected = plain_sum(moment)
    terms = moment.leave()
    assert_alike(moment.gradients(), expected)
    assert all(not term.requires_grad and term.ndim == 0 and term.isfinite() for term in terms.values())
    assert all(expected[name].any() for name in expected if name.endswith("weight"))


# What each weight switches on, when it is the only one.
NAMES = {
    "gan": {"gan"},
    "feature": {"feature"},
    "video": {"video_x1_gan", "video_x3_gan"},
    "video_feature": {"video_x1_feature", "video_x3_feature"},
    "region": {"region_gan"},
    "region_feature": {"region_feature"},
    "perceptual": {"perceptual"},
    "flow": {"flow"},
    "warp": {"warp"},
    "generated_warp": {"generated_warp"},
    "mask": {"mask"},
    "cross_entropy": {"cross_entropy"},
}
DISCRIMINATORS = {"discriminator", "video_x1_discriminator", "video_x3_discriminator", "region_discriminator"}


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("name", "terms"), NAMES.items(), ids=NAMES)
def test_a_weight_alone_is_its_term_alone(name: str, terms: set[str]):
    """Terms without a weight leave neither a name nor a gradient; discriminators learn all the same."""
    moment = Moment("whole", asked(loss=NOTHING | {name: 2.0}))
    expected = plain_sum(moment)
    assert set(moment.leave()) == terms | DISCRIMINATORS
    assert_alike(moment.gradients(), expected)


def test_every_weight_has_its_terms():
    assert set(NAMES) == set(WEIGHTS) == {f.name for f in fields(LossRecipe)}


TERMS = {
    "whole": set().union(*NAMES.values()),
    "without flow": set().union(*NAMES.values()) - {"flow", "warp", "mask"},
    "with given flow": set().union(*NAMES.values()) - {"flow", "warp"},
    "single images": set().union(*NAMES.values()) - {"flow", "warp", "mask"},
}


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_has_the_terms_of_its_parts(kind: str):
    moment = Moment(kind, asked())
    assert set(moment.leave()) == TERMS[kind] | DISCRIMINATORS


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("kind", "fakes"), [("whole", 2), ("with given flow", 2), ("without flow", 1)])
def test_the_hallucination_is_judged_where_it_is_not_the_frame_itself(kind: str, fakes: int):
    moment = Moment(kind, asked())
    spy = moment.judges[IMAGE].register_forward_pre_hook(lambda _, given: sets.append(given[2:]))
    sets: list[tuple[Tensor, ...]] = []
    moment.leave()
    spy.remove()
    made = (moment.rollout.image, moment.rollout.hallucinated)[:fakes]
    assert len(sets) == 1, "one pass for both players"
    assert all(torch.equal(x, y.flatten(0, 1)) for x, y in zip(sets[0], made, strict=True))


@pytest.mark.usefixtures("exact")
def test_with_a_given_flow_the_mask_learns():
    moment = Moment("with given flow", asked(loss=NOTHING | {"gan": 1.0}))
    moment.leave()
    assert all(p.grad.any() for p in moment.generator.networks[0].heads.mask.parameters())


@pytest.mark.usefixtures("exact")
def test_whoever_walks_backward_may_weigh_all_of_it():
    """Processes and accumulated chunks weigh their share; it must reach every network alike."""
    whole, half = (Moment("whole", asked()) for _ in range(2))
    calls: list[Tensor] = []
    whole.leave(backward=lambda loss: calls.append(loss) or loss.backward())
    half.leave(backward=lambda loss: (loss * 0.5).backward())
    assert_alike({name: 2 * g for name, g in half.gradients().items()}, whole.gradients())
    assert len(calls) == 1 + len(whole.judges), "each network once a chunk"


@pytest.mark.usefixtures("exact")
def test_empty_regions_leave_no_gradient():
    """Still the discriminator is asked, so that all processes ask the same."""
    moment, without = Moment("whole", asked()), Moment("whole", asked(region_discriminator=None))
    moment.chunk = replace(moment.chunk, boxes=moment.chunk.boxes * 0)
    terms = moment.leave()
    without.leave()
    assert all(p.grad is not None and not p.grad.any() for p in moment.judges[REGION].parameters())
    others = {name: g for name, g in moment.gradients().items() if not name.startswith(REGION)}
    assert_alike(others, without.gradients())
    assert terms["region_gan"] == terms["region_feature"] == terms["region_discriminator"] == 0


# What a discriminator is asked. Pictures here are of one value each, which says where they come from.


class Spy:
    """A discriminator that remembers what it was asked: the value of every picture of every set."""

    def __init__(self, inputs: int) -> None:
        self.judge = MultiscaleDiscriminator(inputs, base_channels=4, layers=1, scales=1)
        self.asked: list[list[Tensor]] = []

    def __call__(self, condition: Tensor, *sets: Tensor) -> list[Judged]:
        values = [x[..., 0, 0].detach() for x in (condition, *sets)]
        assert all((x == v[..., None, None]).all() for x, v in zip((condition, *sets), values, strict=True))
        self.asked.append(values)
        judged: list[Judged] = self.judge(condition, *sets)
        return judged


class Numbers:
    """A flow teacher that tells from which picture to which it was asked for."""

    name = "numbers"

    def flow(self, previous: Tensor, current: Tensor) -> Tensor:
        return torch.cat((previous[:, :1], current[:, :1]), 1)


def numbered(batch: int, length: int, channels: int, offset: float = 0.0) -> Tensor:
    """(B, T, C, 8, 8): frame t of clip b is 100 b + t + offset everywhere."""
    values = torch.arange(batch)[:, None] * 100.0 + torch.arange(length) + offset
    return values[..., None, None, None].expand(batch, length, channels, 8, 8)


def numbered_walk(batch: int, length: int) -> Walk:
    trust = torch.zeros(batch, length, 1, 8, 8)
    encoded = Encoded(numbered(batch, length, 2))
    return Walk(numbered(batch, length, 3), cut(encoded), numbered(batch, length, 2), trust)


FRAMES = 20
# Length of chunks -> stride -> the last frames of the windows that D_V judges: a chunk's last where it has its past.
LAST_FRAMES = {
    1: {1: range(2, 20), 3: range(6, 20), 9: range(18, 20)},
    2: {1: range(3, 20, 2), 3: range(7, 20, 2), 9: range(19, 20)},
}


@pytest.mark.parametrize("length", LAST_FRAMES)
def test_windows_reach_over_the_borders_of_chunks(length: int):
    """Whoever walks a clip chunk by chunk asks about the whole clip's windows, each with the flow between."""
    recipe = asked(loss=NOTHING | {"gan": 1.0, "video": 1.0}, video_discriminator={"strides": 3})
    judges = {IMAGE: Spy(5)} | {name: Spy(13) for name in strides(recipe)}
    objective = Objective(recipe, judges, None, Numbers())
    walk = numbered_walk(2, FRAMES)
    place = Place(0, Memory((), (), started=False), Past.nothing(walk.frames))
    earlier: list[tuple[Tensor, Tensor]] = []
    for start in range(0, FRAMES, length):
        chunk = walk.chunk(start, start + length)
        image = numbered(2, FRAMES, 3, offset=0.5)[:, start : start + length].clone().requires_grad_()
        objective(chunk, Frame(image, image), place.past, place.last(chunk))
        place = place.after(chunk, Frame(image, image), place.memory, objective.reach)
        assert place.past.made.shape[1] == min(start + length, 18), "no more is kept than the largest stride needs"
        assert image.grad is not None
        assert all(torch.equal(old.grad, grad) for old, grad in earlier), "what was made before a chunk learns no more"
        earlier.append((image, image.grad.clone()))

    for (name, scale), (stride, ends) in zip(strides(recipe).items(), LAST_FRAMES[length].items(), strict=True):
        expected = [tuple(range(end - 2 * stride, end + 1, stride)) for end in ends]
        whole = {w for last in range(FRAMES) for w in temporal_windows(0, last + 1, 3, scale)}
        assert set(expected) <= whole
        assert len(judges[name].asked) == len(expected), name
        for (condition, real, fake), window in zip(judges[name].asked, expected, strict=True):
            for b in (0, 1):
                numbers = [100.0 * b + t for t in window]
                assert real[b].reshape(3, 3).T.tolist() == [numbers] * 3
                assert fake[b].reshape(3, 3).T.tolist() == [[n + 0.5 for n in numbers]] * 3
                pairs = [[later, later] for later in numbers[1:]] if scale == 0 else [numbers[:2], numbers[1:]]
                torch.testing.assert_close(condition[b].reshape(2, 2), torch.tensor(pairs) / 20)


def test_a_chunk_longer_than_a_window_asks_about_several():
    recipe = asked(loss=NOTHING | {"video": 1.0, "gan": 1.0}, video_discriminator={"strides": 2, "frames": 2})
    judges = {IMAGE: Spy(5), "video_x1": Spy(8), "video_x2": Spy(8)}
    walk = numbered_walk(2, 5)
    image = numbered(2, 5, 3, 0.5).clone().requires_grad_()
    chunk = walk.chunk(0, 5)
    objective = Objective(recipe, judges, None, Numbers())
    objective(chunk, Frame(image, image), Past.nothing(walk.frames), chunk.previous[:, 0])
    ((_, real, _),) = judges["video_x1"].asked
    assert real[:, ::3].tolist() == [[3, 4], [1, 2], [103, 104], [101, 102]]
    ((_, real, _),) = judges["video_x2"].asked
    assert real[:, ::3].tolist() == [[2, 4], [0, 2], [102, 104], [100, 102]]


def one_chunk(recipe: Recipe, batch: int, length: int) -> list[Tensor]:
    """The values of what D_I is asked about one chunk: condition, real, image, hallucination."""
    walk, spy = numbered_walk(batch, length), Spy(5)
    image, hallucinated = (numbered(batch, length, 3, offset).clone().requires_grad_() for offset in (0.25, 0.5))
    mask = torch.zeros(batch, length, 1, 8, 8)
    rollout = Frame(image, hallucinated, image.detach(), numbered(batch, length, 2), mask)
    chunk: Chunk = walk.chunk(0, length)
    Objective(recipe, {IMAGE: spy})(chunk, rollout, Past.nothing(walk.frames), chunk.previous[:, 0])
    ((condition, *sets),) = spy.asked
    values = [x[:, 0] for x in (condition, *sets)]
    assert [len(v) for v in values] == [len(values[0])] * 4
    for found, offset in zip(values, (0, 0, 0.25, 0.5), strict=True):
        assert torch.equal(found, values[0] + offset), "everything is of the same frame"
    return values


def test_every_frame_is_judged():
    recipe = asked(video_discriminator={"strides": 0}, region_discriminator=None)
    assert one_chunk(recipe, 2, 3)[0].tolist() == [0, 1, 2, 100, 101, 102]


def test_one_frame_of_each_clip_is_judged_and_every_clip_draws_its_own():
    recipe = asked(judged="one", video_discriminator={"strides": 0}, region_discriminator=None)
    drawn = []
    for seed in range(30):
        torch.manual_seed(seed)
        found = one_chunk(recipe, 3, 4)[0]
        assert found.div(100).floor().tolist() == [0, 1, 2], "one of each clip, in order"
        drawn.append((found % 100).tolist())
    for clip in zip(*drawn, strict=True):
        assert set(clip) == {0, 1, 2, 3}
    assert any(len(set(numbers)) > 1 for numbers in drawn)
    torch.manual_seed(0)
    assert (one_chunk(recipe, 3, 4)[0] % 100).tolist() == drawn[0], "the same seed draws the same"


# The perceptual term


@pytest.mark.parametrize(("width", "seen"), [(1024, 1024), (1026, 513)])
def test_wide_pictures_are_halved_before_vgg(width: int, seen: int):
    plain = {"video_discriminator": {"strides": 0}, "region_discriminator": None}
    recipe, vgg = asked(loss=NOTHING | {"perceptual": 1.0}, **plain), FiveDepths()
    random = torch.Generator().manual_seed(0)
    frames, image = (torch.rand(1, 1, 3, 32, width, generator=random) for _ in range(2))
    blank = torch.zeros(1, 1, 2, 32, width)
    chunk = Chunk(frames, frames, Encoded(blank), blank, blank[:, :, :1])
    judge = MultiscaleDiscriminator(5, base_channels=4, layers=1, scales=1)
    terms = Objective(recipe, {IMAGE: judge}, vgg)(
        chunk, Frame(image.requires_grad_(), image), Past.nothing(frames), frames[:, 0]
    )
    of_real, of_made = vgg.seen
    assert of_real.shape == of_made.shape == (1, 3, 32 * seen // width, seen)
    if seen < width:
        assert torch.equal(of_real, F.avg_pool2d(frames[0], 2))
        assert torch.equal(of_made, F.avg_pool2d(image[0], 2))
    torch.testing.assert_close(terms["perceptual"], losses.perceptual(vgg(of_real), vgg(of_made)).detach())
    assert image.grad.shape == image.shape
