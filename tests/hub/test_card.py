"""A card says what the files of a folder say, the same each time, and nothing in them can say it in other words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from tests.hub.test_escape import XSS
from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.toy import ToyWorld
from vid2vid_hub.errors import ModelError
from vid2vid_hub.hub.about import About, Converted, Data, read_about, write_about
from vid2vid_hub.hub.card import GENERATED, card
from vid2vid_hub.hub.escape import plain, words
from vid2vid_hub.hub.measures import Measurement, save_measures, weights_digest
from vid2vid_hub.tasks import get_task

PIPELINES = Path(__file__).parents[2] / "pipelines"
STARTERS = sorted(path.name for path in PIPELINES.glob("*-starter"))


@pytest.fixture
def folder(toy_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy_model, tmp_path / "model")


def measured(folder: Path, **changes: Any) -> Measurement:
    values = {
        "kind": "frames",
        "task": "toy",
        "data": "drawn shapes",
        "split": "val",
        "clips": 2,
        "frames": 1240,
        "width": 48,
        "height": 32,
        "first_frames": "zeros",
        "every": None,
        "precision": "float32",
        "systems": {"generated": {"psnr": 23.35678, "motion": 1.0, "windows": 28.0}, "held": {"psnr": 7.0}},
        "meaning": {
            "generated": "this model",
            "held": "a still",
            "psnr": "signal to noise, in dB",
            "motion": "of flow",
        },
        "better": {"psnr": "higher"},
        "weights": weights_digest(folder),
        "version": "0.1.0",
    }
    return Measurement(**values | changes)


def head(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(re.split(r"^---$", text, maxsplit=2, flags=re.M)[1])
    return found


@pytest.mark.parametrize("name", STARTERS)
def test_the_card_of_a_starter_is_what_its_files_say(name: str, monkeypatch: pytest.MonkeyPatch):
    """After any change: vid2vid-hub card pipelines/NAME; after new weights evaluate --save before it."""
    monkeypatch.chdir(PIPELINES.parent)
    folder = Path("pipelines") / name
    assert (folder / "README.md").read_text("utf-8") == card(folder, f"pipelines/{name}")
    assert (folder / "preview.mp4").stat().st_size < 2e6
    assert head(card(folder, f"pipelines/{name}"))["widget"][0]["output"]["url"] == "preview.mp4"


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_knows_who_is_to_be_asked(name: str):
    text = card(PIPELINES / name, f"org/{name}")
    consent = get_task(head(text)["tags"][1]).consent
    assert ("Ask people" in text) == (consent is not None) == (name in ("dance-starter", "face-starter"))
    assert GENERATED in text


def test_the_least_that_a_card_says(folder: Path):
    text = card(folder, "org/toy")
    assert text == card(folder, "org/toy")
    assert head(text) == {
        "library_name": "vid2vid-hub",
        "pipeline_tag": "video-to-video",
        "tags": ["vid2vid", "toy", "safetensors"],
    }
    assert 'Vid2VidPipeline.from_pretrained("org/toy")' in text
    assert "pipe.sample" not in text
    assert "ask first" in text
    for title in ("Data", "Measures", "Limits"):
        assert f"## {title}" not in text


def test_measures_stand_in_the_table_and_in_the_index_of_models(folder: Path):
    save_measures(folder, measured(folder))
    write_about(About(data=(Data("drawn shapes", id="org/shapes"),)), folder)
    text = card(folder, "org/toy")
    assert "|  | psnr ↑ | motion |" in text
    assert "| this model | 23.36 | 1 |\n| a still | 7 |  |" in text
    assert "- psnr: signal to noise, in dB." in text
    assert "Distances are of 28 windows." in text
    assert "vid2vid-hub evaluate org/toy --data DATA\n" in text
    results = {one.metric_type: one for one in ModelCard(text).data.eval_results}
    assert set(results) == {"psnr", "motion"}
    assert results["psnr"].metric_value == 23.36
    assert (results["psnr"].dataset_type, results["psnr"].dataset_split) == ("org/shapes", "val")
    protocol = results["psnr"].metric_args["protocol"]
    assert protocol.startswith("signal to noise, in dB; 2 clips of 1,240 frames at 48x32, started from nothing")
    assert ModelCard(text).data.datasets == ["org/shapes"]


def test_measures_of_other_weights_are_not_shown(folder: Path):
    save_measures(folder, measured(folder, weights="0" * 64))
    assert "## Measures" not in card(folder, "org/toy")
    assert "model-index" not in head(card(folder, "org/toy"))


def test_the_command_says_how_it_was_measured(folder: Path):
    systems = {"generated": {"psnr": 1.0, "lpips": 0.5, "fvd": 3.0}}
    save_measures(folder, measured(folder, systems=systems, first_frames="real", split="train"))
    ahead = {"kind": "future", "every": 3, "systems": {"forecast": {"miou t+1": 0.6}}, "first_frames": "observed"}
    save_measures(folder, measured(folder, meaning={"forecast": "this", "miou t+1": "IoU"}, **ahead))
    text = card(folder, "org/toy")
    end = "--data DATA --split train --lpips WEIGHTS --i3d WEIGHTS --first-frames real\n"
    assert f"vid2vid-hub evaluate org/toy {end}" in text
    assert "vid2vid-hub evaluate org/toy --data DATA --future --every 3\n" in text


def test_what_the_trainer_wrote_is_told(folder: Path):
    recipe = {
        "task": "toy",
        "start": "org/smaller",
        "stages": [{"epochs": 3, "width": 48, "height": 32, "frames": 4, "double_every": 2, "max_frames": 16}],
        "discriminator": {"layers": 2},
        "video_discriminator": {"strides": 0},
        "loss": {"gan": 1.0, "flow": 10.0, "mask": 0.0, "region": 2.0},
        "perceptual": "vgg16",
        "seed": 0,
        "precision": "bf16",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    data = {"name": "shapes", "licence": "mit", "source": "https://a.example/b_c", "people": "nobody"}
    training = {"steps": 1234, "epochs": 3, "seconds": 4140, "processes": 2, "device": "cuda NVIDIA X"}
    (folder / "training.json").write_text(json.dumps(training | {"data": data | {"clips": 9, "frames": 300}}))
    text = card(folder, "org/toy")
    assert head(text)["base_model"] == "org/smaller"
    assert "It took 1,234 steps in 3 epochs, 69 minutes, on cuda NVIDIA X, 2 processes." in text
    assert "| 3 | 48x32 | 4 to 16 | 3 | 1 |" in text
    assert "- discriminators: single frames\n- weights of the losses: gan 1, flow 10\n" in text
    assert "**shapes**: licence `mit`; from <https://a.example/b_c>; nobody is to be seen." in text
    assert "9 clips, 300 frames." in text
    write_about(About(data=(Data("mine", licence="cc-by-4.0"),)), folder)
    assert "**mine**: licence `cc-by-4.0`; whether people are to be seen is not said." in card(folder, "org/toy")
    assert "**shapes**" not in card(folder, "org/toy"), "the author knows better"


def test_a_folder_of_this_machine_is_no_base_model(folder: Path):
    (folder / "recipe.yaml").write_text("{task: toy, start: pipeline}")
    text = card(folder, "org/toy")
    assert "base_model" not in head(text)
    assert "`pipeline`, which is not published" in text


def test_converted_weights_carry_their_licence(folder: Path):
    write_about(About(converted=Converted("pix2pixHD", "unknown", {"a|b.pth": "1" * 64})), folder)
    text = card(folder, "org/toy")
    assert (head(text)["license"], head(text)["license_name"]) == ("other", "unknown")
    assert "a checkpoint of pix2pixHD" in text
    assert f"| `a/b.pth` | `{'1' * 64}` |" in text


def test_the_snippet_says_how_large_the_frames_are(folder: Path):
    write_maps(folder / "sample.mkv", ToyWorld(0, 32, 48).draw(5).labels, 25)
    assert "frames = pipe(condition=pipe.sample).frames  # uint8 (5, 32, 48, 3)\n" in card(folder, "org/toy")
    assert 'from_pretrained("org/toy", revision="v2")\n' in card(folder, "org/toy", "v2")


@pytest.mark.parametrize("said", XSS)
def test_nothing_in_the_files_becomes_markup(folder: Path, said: str):
    """The same blocks as with harmless words, the words letter by letter, and one front matter of YAML."""

    def written(words_: str, folder: Path) -> str:
        one_line = plain(words_) or "x"
        texts = {"title": words_, "summary": words_, "usage": words_, "history": words_, "limits": words_}
        data = Data(words_, source=words_, people=words_, note=words_)
        write_about(About(data=(data,), **texts), folder)
        (folder / "recipe.yaml").write_text(
            yaml.safe_dump(
                {
                    "start": words_,
                    "perceptual": words_,
                    "teacher": {"name": words_},
                    "loss": {words_: 1.0},
                    "first_frames": {words_: words_},
                    "stages": [{"epochs": words_, "width": 1, "height": words_, "frames": words_}],
                    "seed": words_,
                }
            )
        )
        (folder / "training.json").write_text(json.dumps({"steps": words_, "device": words_, "seconds": words_}))
        systems = {one_line: {"psnr": 1.0}}
        save_measures(
            folder, measured(folder, data=words_, systems=systems, meaning={one_line: words_, "psnr": words_})
        )
        return card(folder, "org/toy")

    text = written(said, folder)
    assert re.findall(r"(?m)^---$", text) == ["---", "---"]
    assert set(head(text)) == set(head(written("harmless words", folder)))
    body = re.split(r"^---$", text, maxsplit=2, flags=re.M)[2]
    tokens = [
        one
        for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
        for one in (token, *(token.children or ()))
    ]
    assert not [token.content for token in tokens if token.type in ("html_block", "html_inline", "image")]
    links = {str(token.attrGet("href")) for token in tokens if token.type == "link_open"}
    assert links <= {"recipe.yaml", *re.findall(r"https://[\w./-]+", said)}, "an address that an author gives is one"
    titles = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert titles == [
        words(said) or "",
        "What it is",
        "How it was trained",
        "Data",
        "Measures",
        "Limits",
        "Responsible use",
        "Licence",
    ]


def test_a_name_that_would_leave_the_snippet_is_refused(folder: Path):
    for repo in ('org/x")\nimport os', "org/x y", "`x`", "../x"):
        with pytest.raises(ModelError, match="no name that a card can give"):
            card(folder, repo)
    with pytest.raises(ModelError, match="no name"):
        card(folder, "org/x", 'v2", token="')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: [1]", "title must be text"),
        ("titel: x", "the key 'titel', which nobody reads"),
        ("licence: my own", "licence is 'my own'; expected an id as on the Hub"),
        ("data: {name: x}", "data must be a list"),
        ("data: [{licence: mit}]", "data 1 has no name"),
        ("data: [{name: x, id: nowhere}]", "id, is 'nowhere'; expected org/name"),
        ("data: [{name: x, url: y}]", "the key 'url'"),
        ("languages: [English]", "two or three letters"),
        ("converted: {system: x}", "must say its system and its licence"),
        ("converted: {system: x, licence: mit, files: {a: b}}", "64 hexadecimal digits"),
        ("[1, 2]", "holds list"),
        ("a: b: c", "cannot be read as YAML"),
        ("title: 2020-01-01", "title must be text"),
        ("title: \x00", "cannot be read as YAML"),
    ],
)
def test_what_an_author_may_not_say_is_one_sentence(tmp_path: Path, text: str, said: str):
    (tmp_path / "about.yaml").write_text(text)
    with pytest.raises(ModelError, match=re.escape(said)) as caught:
        read_about(tmp_path)
    assert "\n" not in str(caught.value)


def test_words_of_an_author_survive_the_file(tmp_path: Path):
    about = About(
        title="Ä title: with # signs",
        summary="One\n\n- two `x`\n",
        languages=("en", "deu"),
        data=(Data("x", "mit", "https://a.example", "nobody", "org/x", "n"), Data("y")),
        converted=Converted("vid2vid", "cc-by-nc-sa-4.0", {"a.pth": "0" * 64}),
    )
    write_about(about, tmp_path)
    assert read_about(tmp_path) == about
    (tmp_path / "about.yaml").write_text("data: [{name: x, people: true}, {name: y, people: false}]")
    assert [one.people for one in read_about(tmp_path).data] == ["yes", "nobody"]
