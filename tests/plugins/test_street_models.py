"""Real models of transformers of every family that finds classes or objects in street frames, tiny and random."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vid2vid_hub.errors import MissingExtraError, TaskError
from vid2vid_street import SegToStreet
from vid2vid_street.cityscapes import TRAINED
from vid2vid_street.labels import LABEL_SETS
from vid2vid_street.universal import UniversalModel

FRAMES = torch.randint(256, (2, 3, 40, 52), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SET = LABEL_SETS["cityscapes-train"]
UNIVERSAL = ["mask2former", "maskformer", "eomt", "oneformer"]
SWIN = {
    "image_size": 64,
    "embed_dim": 8,
    "depths": [1] * 4,
    "num_heads": [1] * 4,
    "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
NARROW = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}


def mask2former(labels: dict[int, str]) -> tuple[Any, Any]:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 8}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "dim_feedforward": 8}
    config = Mask2FormerConfig(backbone_config=SwinConfig(**SWIN), **sizes, **layers, num_queries=6, id2label=labels)
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessorPil(size={"height": 64, "width": 64})


def maskformer(labels: dict[int, str]) -> tuple[Any, Any]:
    from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, SwinConfig
    from transformers.models.maskformer.image_processing_pil_maskformer import MaskFormerImageProcessorPil

    decoder = DetrConfig(**NARROW, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=6)
    sizes = {"fpn_feature_size": 32, "mask_feature_size": 32}
    model = MaskFormerForInstanceSegmentation(
        MaskFormerConfig(backbone_config=SwinConfig(**SWIN), decoder_config=decoder, **sizes, id2label=labels)
    )
    return model, MaskFormerImageProcessorPil(size={"height": 64, "width": 64})


def eomt(labels: dict[int, str]) -> tuple[Any, Any]:
    from transformers import EomtConfig, EomtForUniversalSegmentation
    from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "mlp_ratio": 2}
    picture = {"image_size": 64, "patch_size": 16, "num_blocks": 1, "num_upscale_blocks": 1}
    model = EomtForUniversalSegmentation(
        EomtConfig(**sizes, **picture, num_queries=6, num_register_tokens=0, id2label=labels)
    )
    return model, EomtImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True)


def oneformer(labels: dict[int, str], folder: Path) -> tuple[Any, Any]:
    from transformers import CLIPTokenizer, OneFormerConfig, OneFormerForUniversalSegmentation, SwinConfig
    from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil
    from transformers.models.oneformer.processing_oneformer import OneFormerProcessor

    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    words = {word: number for number, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "classes.json").write_text(
        json.dumps({str(i): {"name": name, "isthing": int(i in SET.foreground)} for i, name in labels.items()})
    )
    pictures = OneFormerImageProcessorPil(
        size={"height": 64, "width": 64}, repo_path=str(folder), class_info_file="classes.json", num_text=6
    )
    sizes = {"conv_dim": 32, "mask_dim": 32, "hidden_dim": 32, "encoder_feedforward_dim": 8, "dim_feedforward": 8}
    text = {"text_encoder_width": 32, "text_encoder_context_length": 77, "text_encoder_num_layers": 1}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "query_dec_layers": 1}
    model = OneFormerForUniversalSegmentation(
        OneFormerConfig(
            backbone_config=SwinConfig(**SWIN),
            **sizes,
            **text,
            **layers,
            num_queries=6,
            text_encoder_vocab_size=len(words),
            id2label=labels,
        )
    )
    return model, OneFormerProcessor(pictures, CLIPTokenizer(vocab=words, merges=[]))


def mobilevit(labels: dict[int, str]) -> tuple[Any, Any]:
    """DeepLabV3 on MobileViT."""
    from transformers import MobileViTConfig, MobileViTForSemanticSegmentation
    from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

    sizes = {"hidden_sizes": [16] * 3, "neck_hidden_sizes": [8] * 6 + [16], "aspp_out_channels": 8}
    config = MobileViTConfig(**sizes, image_size=64, num_attention_heads=2, atrous_rates=[1, 2, 3], id2label=labels)
    return MobileViTForSemanticSegmentation(config), MobileViTImageProcessorPil(
        size={"shortest_edge": 64}, do_center_crop=False
    )


def mobilenet(labels: dict[int, str]) -> tuple[Any, Any]:
    """DeepLabV3+ on MobileNetV2."""
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation
    from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil

    config = MobileNetV2Config(depth_multiplier=0.35, image_size=64, id2label=labels)
    return MobileNetV2ForSemanticSegmentation(config), MobileNetV2ImageProcessorPil(
        size={"shortest_edge": 64}, do_center_crop=False
    )


def save(folder: Path, family: str, names: tuple[str, ...] = TRAINED) -> str:
    """A model of a family with random weights and its processor, saved as they are on the Hub."""
    if family in UNIVERSAL:
        pytest.importorskip("scipy", reason="transformers' universal models ask for SciPy")
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    labels = dict(enumerate(names))
    made = oneformer(labels, folder) if family == "oneformer" else globals()[family](labels)
    for weight in made[0].parameters():
        # As they come, random weights say nearly the same of every pixel.
        if weight.ndim == 4:
            torch.nn.init.kaiming_normal_(weight)
    for part in made:
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that have learned something are sure of it, and only what they are sure of becomes a segment."""
    run = UniversalModel._run

    def surer(self: UniversalModel, frame: Tensor, purpose: str) -> Any:
        outputs = run(self, frame, purpose)
        masks = outputs.masks_queries_logits
        varied = masks - masks.mean((2, 3), keepdim=True)
        outputs.masks_queries_logits = torch.where(varied == varied.amax(1, keepdim=True), 20.0, -20.0)
        outputs.class_queries_logits = outputs.class_queries_logits * 10000
        return outputs

    monkeypatch.setattr(UniversalModel, "_run", surer)


@pytest.mark.parametrize("family", ["mobilevit", "mobilenet"])
def test_a_model_of_another_family_is_read_by_the_names_of_its_classes(family: str, tmp_path: Path):
    def segment(names: tuple[str, ...]) -> Tensor:
        folder = save(tmp_path / names[0], family, names)
        return SegToStreet(label_set="cityscapes-train", segmenter=folder).extract(FRAMES).maps

    found = segment(TRAINED)
    assert found.shape == (2, 1, 40, 52)
    assert len(found.unique()) > 2
    assert torch.equal(segment(TRAINED[::-1]), 18 - found)


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("family", UNIVERSAL)
def test_a_universal_model_is_a_segmenter(family: str, tmp_path: Path):
    folder = save(tmp_path, family)
    maps = SegToStreet(label_set="cityscapes-train", segmenter=folder).extract(FRAMES).maps
    model = UniversalModel(folder)
    assert maps.shape == (2, 1, 40, 52)
    assert torch.equal(maps[:, 0].long(), model.semantic(FRAMES))
    assert len(maps.unique()) > 1


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("family", UNIVERSAL)
def test_a_panoptic_model_gives_labels_and_objects_at_once(family: str, tmp_path: Path):
    folder = save(tmp_path, family)
    condition = SegToStreet(label_set="cityscapes-train", segmenter=folder, instances=folder).extract(FRAMES)
    labels, ids = condition.maps.int(), condition.instances
    assert ids.shape == (2, 1, 40, 52)
    objects = ids >= 1000
    assert torch.equal(torch.where(objects, ids // 1000, ids), labels)
    assert set(labels[objects].unique().tolist()) <= SET.foreground


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("family", UNIVERSAL)
def test_what_a_model_is_sure_of_becomes_segments(family: str, tmp_path: Path):
    model = UniversalModel(save(tmp_path, family))
    for segments in (model.panoptic(FRAMES[0], ())[1], model.instances(FRAMES[0])):
        assert segments.numbers.shape == (40, 52)
        assert 0 < int(segments.numbers.max()) <= len(segments.classes)
        assert set(segments.classes) <= set(model.classes)


def test_without_scipy_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = save(tmp_path, "mask2former")
    monkeypatch.setattr("vid2vid_street.models.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs scipy.*pip install 'vid2vid-hub\[street\]'"):
        SegToStreet(segmenter=folder).extract(FRAMES)


def test_universal_weights_that_are_not_safetensors_are_not_opened(tmp_path: Path):
    folder = save(tmp_path, "eomt")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(TaskError, match=r"no file named model\.safetensors"):
        SegToStreet(segmenter=folder, instances=folder).extract(FRAMES)


def test_a_model_that_finds_no_objects_is_refused_for_instances(tmp_path: Path):
    folder = save(tmp_path, "mobilenet")
    with pytest.raises(TaskError, match=r"finds no objects.*'components'"):
        SegToStreet(segmenter=folder, instances=folder).extract(FRAMES)


def test_a_model_of_nothing_that_moves_is_refused_for_instances(tmp_path: Path):
    segmenter = save(tmp_path / "all", "mobilenet")
    still = save(tmp_path / "still", "eomt", ("road", "sky", "sofa"))
    with pytest.raises(TaskError, match="knows none of person, rider, car"):
        SegToStreet(segmenter=segmenter, instances=still).extract(FRAMES)


def test_a_model_of_objects_alone_cannot_be_the_segmenter_too(tmp_path: Path):
    moving = save(tmp_path, "eomt", ("car", "person"))
    with pytest.raises(TaskError, match="knows no background"):
        SegToStreet(segmenter=moving, instances=moving).extract(FRAMES)


@pytest.mark.usefixtures("sure")
def test_an_instance_model_may_know_more_than_streets_have(tmp_path: Path):
    """As one trained on COCO does; what the label set does not know is passed over."""
    segmenter, finder = save(tmp_path / "all", "mobilenet"), save(tmp_path / "coco", "eomt", ("sofa", "car", "person"))
    condition = SegToStreet(segmenter=segmenter, instances=finder).extract(FRAMES)
    assert torch.equal(condition.maps, SegToStreet(segmenter=segmenter).extract(FRAMES).maps)
    assert condition.instances.shape == condition.maps.shape
