"""What is on the tab of a task, from top to bottom; what happens there is in :mod:`vid2vid_hub.app.tab`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from vid2vid_hub.app.limits import Limits
from vid2vid_hub.app.look import legend_class
from vid2vid_hub.app.making import BEGINNINGS
from vid2vid_hub.app.models import Models
from vid2vid_hub.app.plain import File, Picture, Video
from vid2vid_hub.app.player import player
from vid2vid_hub.app.reading import Drawn
from vid2vid_hub.app.receive import PICTURES
from vid2vid_hub.app.shelf import Shelf
from vid2vid_hub.app.webcam import Visitors, live_section
from vid2vid_hub.tasks import Task

NOTHING = "Nothing to see yet: upload a video, record one, or press an example."
NO_MODEL = "No model of this task is here yet: train one, then type its folder or its Hub id."


@dataclass(frozen=True)
class House:
    """What all tabs share.

    Attributes:
        models: what can be chosen.
        shelf: where everything lies.
        limits: what may be asked for.
        visitors: who is live.
    """

    models: Models
    shelf: Shelf
    limits: Limits
    visitors: Visitors


class Layout:
    """The components of a task's tab, built into the page at hand.

    Args:
        task: as it is by itself; says what the tab shows.
        house: what all tabs share.
    """

    def __init__(self, task: Task, house: House) -> None:
        self.task, self.house = task, house
        self.offered = house.models.offered(task.name)
        self.seen, self.edits = gr.State(None, time_to_live=house.limits.keep), gr.State({})
        self._introduce()
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                self._inputs()
                self._choices()
            with gr.Column(min_width=300):
                self._condition()
                self._results()
        with gr.Accordion("Live, from your camera", open=False):
            live_section(
                task.name,
                lambda name: house.models.get(name, task.name),
                self.model,
                house.limits,
                visitors=house.visitors,
            )

    # What is on the tab, from top to bottom.

    def _introduce(self) -> None:
        if self.task.about:
            gr.Markdown(self.task.about)
        if self.task.consent:
            gr.Markdown(f"**Only with consent.** {self.task.consent}", elem_classes=["consent"])

    def _inputs(self) -> None:
        limits = self.house.limits
        self.video = Video(
            label="Your video",
            sources=["upload", "webcam"],
            include_audio=False,
            webcam_options=gr.WebcamOptions(mirror=False),
            elem_id=f"{self.task.name}-video",
        )
        gr.Markdown(
            f"At most {limits.seconds:g} seconds and {limits.upload / 1e6:.0f} MB; removed after "
            f"{_spell(limits.keep)}.",
            elem_classes=["remark"],
        )
        self.examples: dict[gr.Button, Path | Drawn] = {}
        with gr.Row():
            for label, source in self._sources().items():
                self.examples[gr.Button(label, size="sm", min_width=120)] = source
        with gr.Accordion("Give the condition itself", open=False):
            self.file = File(label="A video or picture of conditions, or a file that the task reads", height=120)

    def _sources(self) -> dict[str, Path | Drawn]:
        """Examples that need no download."""
        samples = {f"Example: {name}": self.house.models.sample(name) for name in self.offered}
        found: dict[str, Path | Drawn] = {label: path for label, path in samples.items() if path is not None}
        if type(self.task).draw is not Task.draw:
            found |= {f"Drawn example {number}": Drawn(number) for number in (1, 2)}
        return found

    def _choices(self) -> None:
        self.model = gr.Dropdown(
            self.offered,
            value=self.offered[0] if self.offered else None,
            allow_custom_value=True,
            label="Model",
            info="One of the list, a folder, or a Hub id: org/name."
            if self.house.limits.folders
            else "One of the list, or a Hub id: org/name.",
        )
        facts = self.facts(self.model.value)
        self.about_model = gr.Markdown(elem_classes=["remark"], **facts["about_model"])
        self.future = gr.Slider(
            minimum=0,
            maximum=self.house.limits.future,
            step=1,
            label="Go on for",
            info="frames after the end of the video; 0 generates what the video shows",
            **facts["future"],
        )
        with gr.Accordion("First frame, seed and style", open=False):
            self.begin = gr.Radio(list(BEGINNINGS.items()), value="usual", label="First frame")
            self.picture = File(label="Picture", file_types=sorted(PICTURES), height=100, visible=False)
            self.seed = gr.Number(value=0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed", **facts["seed"])
            self.style = gr.Slider(minimum=0, step=1, label="Style", info="0 leaves it to the seed", **facts["style"])
        with gr.Row():
            self.generate = gr.Button("Generate", variant="primary", interactive=False)
            self.cancel = gr.Button("Cancel")

    def _condition(self) -> None:
        self.condition = Picture(
            label="What the task sees",
            alt_text="the condition, as the task sees it",
            elem_classes=["frame"],
            interactive=False,
            buttons=["fullscreen"],
        )
        self.frame = gr.Slider(minimum=0, maximum=1, step=1, value=0, label="Frame", visible=False)
        self.notes = gr.Markdown(NOTHING, elem_classes=["remark"])
        self.legend = gr.Radio(
            [],
            label="Classes in this video: press one to exchange it",
            elem_classes=["legend", legend_class(self.task.name)],
            visible=False,
        )
        self.colours = gr.HTML(padding=False, elem_classes=["colours"])
        with gr.Row():
            self.becomes = gr.Dropdown([], label="becomes", visible=False)
            self.undo = gr.Button("Undo all exchanges", size="sm", visible=False)
        self.exchanged = gr.Markdown(visible=False)

    def _results(self) -> None:
        self.newest = Picture(
            label="Newest frame",
            alt_text="the newest generated frame",
            elem_classes=["frame"],
            interactive=False,
            visible=False,
            buttons=["fullscreen"],
        )
        self.status = gr.Markdown(elem_classes=["status"])
        self.player = player()
        with gr.Row():
            self.download, self.download_pair = (
                gr.DownloadButton(label, size="sm", visible=False)
                for label in ("Download mp4", "Download side by side")
            )

    def facts(self, name: str | None) -> dict[str, dict[str, Any]]:
        """How the controls are set for a model."""
        if not name:
            hidden = {"value": 0, "visible": False}
            return {"about_model": {"value": NO_MODEL}, "future": hidden, "seed": {}, "style": {**hidden, "maximum": 1}}
        pipeline = self.house.models.get(name, self.task.name).pipeline
        styles = 0 if pipeline.appearance is None else pipeline.appearance.styles
        foresees = pipeline.forecaster is not None
        size = "any size" if pipeline.size is None else f"{pipeline.size[1]}x{pipeline.size[0]} pixels"
        parameters = sum(one.numel() for one in pipeline.generator.parameters())
        drawn = [what for what, there in (("one of its styles", styles > 1), ("a future", foresees)) if there]
        return {
            "about_model": {"value": f"Trained at {size}, {parameters / 1e6:.3g} M parameters."},
            "future": {"visible": foresees, "value": min(26, self.house.limits.future) if foresees else 0},
            "seed": {
                "info": f"draws {' and '.join(drawn)}; 0 takes the likeliest"
                if drawn
                else "this model draws nothing: its videos do not depend on it"
            },
            "style": {"visible": styles > 1, "maximum": max(1, styles), "value": 0},
        }


def _spell(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes != 60 else "an hour"
