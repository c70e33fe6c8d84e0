"""What happens on the tab of a task: a video is read, classes are exchanged, frames are made, the visitor cancels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any, cast

import gradio as gr

from vid2vid_hub.app.layout import NO_MODEL, House, Layout
from vid2vid_hub.app.look import legend_style
from vid2vid_hub.app.making import Choices, edited, make
from vid2vid_hub.app.player import shown
from vid2vid_hub.app.reading import Drawn, Seen, picture, read
from vid2vid_hub.app.receive import receive_picture
from vid2vid_hub.app.said import plain, told
from vid2vid_hub.app.turns import in_turn
from vid2vid_hub.errors import ConditionError, ModelError
from vid2vid_hub.tasks import Labels, Task

WORK = "work"
"""What takes the machine's time, of all tabs together: one at a time, the others wait in the queue."""
EVERY = 0.1
"""Seconds between two frames that are shown while they are made."""

Updates = dict[Any, Any]


class Tab(Layout):
    """The tab of a task, built into the page at hand.

    Args:
        task: as it is by itself; says what the tab shows.
        house: what all tabs share.
    """

    def __init__(self, task: Task, house: House) -> None:
        super().__init__(task, house)
        self._wire()

    def _wire(self) -> None:
        name = self.task.name
        seeing = [self.condition, self.status, self.seen, self.edits, self.notes, self.frame, self.legend]
        seeing += [self.colours, self.becomes, self.undo, self.exchanged, self.generate]
        work: dict[str, Any] = {"concurrency_id": WORK, "concurrency_limit": 1, "show_progress_on": self.condition}
        quick: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
        events = [
            given.upload(self.look, [given, self.model], seeing, api_name=api, **work)
            for given, api in ((self.video, f"{name}_read"), (self.file, f"{name}_read_file"))
        ]
        events.append(
            self.video.stop_recording(self.look, [self.video, self.model], seeing, **work, api_visibility="private")
        )
        for number, (button, source) in enumerate(self.examples.items()):
            events.append(
                button.click(
                    lambda model, source=source: (yield from self.look(source, model)),
                    [self.model],
                    seeing,
                    api_name=f"{name}_example_{number}",
                    **work,
                )
            )
        made = self.generate.click(
            self.make,
            [self.seen, self.edits, self.model, self.begin, self.picture, self.seed, self.style, self.future],
            [
                self.newest,
                self.status,
                self.player,
                self.download,
                self.download_pair,
                self.generate,
            ],
            api_name=f"{name}_generate",
            concurrency_id=WORK,
            concurrency_limit=1,
            show_progress="minimal",
            show_progress_on=self.condition,
        )
        stopped = [self.status, self.newest, self.generate]
        self.cancel.click(self.stop, [self.seen], stopped, cancels=[*events, made], **quick)
        facts = [self.about_model, self.future, self.seed, self.style]
        gr.on(
            [self.model.input, self.model.select],
            self.describe,
            [self.model, self.seen],
            [*facts, self.generate, self.notes],
            **(quick | {"show_progress": "minimal", "show_progress_on": self.about_model}),
        )
        self.begin.input(lambda begin: gr.update(visible=begin == "picture"), self.begin, self.picture, **quick)
        showing = [self.seen, self.edits, self.model, self.frame]
        self.frame.input(self.show, showing, self.condition, trigger_mode="always_last", **quick)
        if self.task.labels is not None:
            self.legend.input(self.pick, [self.legend, self.edits, self.seen], self.becomes, **quick)
            exchange = [self.edits, self.exchanged, self.undo]
            self.becomes.input(
                self.exchange,
                [self.legend, self.becomes, self.edits, self.seen],
                exchange,
                api_name=f"{name}_exchange",
                concurrency_limit=None,
                show_progress="hidden",
            ).then(self.show, showing, self.condition, **quick)
            self.undo.click(lambda: self._exchanged({}, None), None, exchange, **quick).then(
                self.show, showing, self.condition, **quick
            )

    def look(self, source: str | Path | Drawn | None, model: str | None) -> Iterator[Updates]:
        """Read what was given, showing what the task sees in it."""
        if source is None:
            return
        house, began = self.house, monotonic()
        yield {
            self.seen: None,
            self.edits: {},
            self.status: "Reading…",
            self.notes: gr.update(visible=False),
            self.generate: gr.update(interactive=False),
            **dict.fromkeys((self.legend, self.becomes, self.undo, self.exchanged), gr.update(visible=False)),
        }
        seen: Seen | None = None
        try:
            with told():
                task = house.models.task(self.task.name, model)
                turn = house.models.get(model, self.task.name).turn if model else nullcontext()
                given = Path(source) if isinstance(source, str) else source
                for reading in in_turn(turn, read(task, given, house.shelf, house.limits)):
                    seen = reading.seen
                    of = f" of {reading.total}" if reading.total else ""
                    yield {self.condition: reading.picture, self.status: f"Read {reading.done}{of} frames"}
        except Exception:
            yield {self.status: ""}
            raise
        assert seen is not None
        notes = "\n".join(f"- frame {frame}: {plain(text)}" for text, frame in seen.notes.items())
        yield {
            self.seen: seen,
            self.frame: gr.update(visible=seen.frames > 1, maximum=max(1, seen.frames - 1), value=0),
            self.notes: gr.update(value=notes, visible=bool(notes)),
            self.status: f"Read {seen.frames} frames in {monotonic() - began:.1f} s. "
            + ("Press Generate." if model else NO_MODEL),
            self.legend: gr.update(visible=bool(seen.classes), choices=_named(seen.labels, seen.classes), value=None),
            self.colours: legend_style(self.task.name, seen.labels) if seen.labels else "",
            self.generate: gr.update(interactive=bool(model)),
        }

    def make(
        self,
        seen: Seen | None,
        edits: Mapping[int, int],
        model: str | None,
        begin: str,
        picture: str | None,
        seed: float | None,
        style: float | None,
        future: float | None,
    ) -> Iterator[Updates]:
        """Generate, showing frames as they come, and the two videos at the end."""
        try:
            with told():
                if seen is None:
                    raise ConditionError("there is nothing to generate from; upload a video, or press an example")
                if not model:
                    raise ModelError(NO_MODEL)
                yield {
                    self.newest: gr.update(visible=True, value=None),
                    self.status: "Loading the model…",
                    self.player: None,
                    self.download: gr.update(visible=False),
                    self.download_pair: gr.update(visible=False),
                    self.generate: gr.update(interactive=False),
                }
                house = self.house
                choices = Choices(
                    cast(Any, begin),
                    receive_picture(Path(picture), house.limits) if begin == "picture" and picture else None,
                    int(seed or 0),
                    int(style) - 1 if style else None,
                    int(future or 0),
                    edits,
                )
                last = 0.0
                for made in make(house.models.get(model, self.task.name), seen, choices, house.shelf, house.limits):
                    said = f"{made.done} of {made.total} frames, {made.rate:.1f} a second"
                    if made.frame is not None and monotonic() - last >= EVERY:
                        last = monotonic()
                        yield {self.newest: made.frame, self.status: said}
                yield {
                    self.newest: gr.update(visible=False),
                    self.status: said + ". Done.",
                    self.player: shown(made.pair, seen.fps),
                    self.download: gr.update(visible=True, value=str(made.video)),
                    self.download_pair: gr.update(visible=True, value=str(made.pair)),
                    self.generate: gr.update(interactive=True),
                }
        except Exception:
            yield {
                self.status: "",
                self.newest: gr.update(visible=False),
                self.generate: gr.update(interactive=True),
            }
            raise

    def stop(self, seen: Seen | None) -> Updates:
        """What stands there once the visitor has cancelled."""
        return {
            self.status: "Cancelled; nothing of it was kept.",
            self.newest: gr.update(visible=False),
            self.generate: gr.update(interactive=seen is not None),
        }

    def describe(self, model: str | None, seen: Seen | None) -> tuple[Any, ...]:
        """What the chosen model can do, and whether what was read is still of use."""
        with told():
            facts = self.facts(model)
            fits = bool(model) and seen is not None and seen.fits(self.house.models.task(self.task.name, model))
        again = "" if seen is None or fits else "This model reads other conditions: give the video again."
        updates = (gr.update(**facts[name]) for name in ("about_model", "future", "seed", "style"))
        return *updates, gr.update(interactive=fits), gr.update(value=again, visible=True) if again else gr.skip()

    def show(self, seen: Seen | None, edits: Mapping[int, int], model: str | None, frame: float) -> Any:
        """The condition of one frame, with the exchanges."""
        if seen is None:
            return gr.skip()
        with told():
            task = self.house.models.task(self.task.name, model)
            number = min(int(frame), seen.frames - 1)
            return picture(task, edited(task, seen.frame(number), edits))

    def pick(self, chosen: str | None, edits: Mapping[int, int], seen: Seen | None) -> Any:
        """A class of the legend was pressed: offer what it may become."""
        if chosen is None or seen is None or seen.labels is None:
            return gr.update(visible=False)
        number, labels = int(chosen), seen.labels
        return gr.update(
            visible=True,
            choices=_named(labels, sorted(labels.editable or labels.names)),
            value=str(edits.get(number, number)),
            label=f"{labels.names[number]} becomes",
        )

    def exchange(
        self, old: str | None, new: str | None, edits: Mapping[int, int], seen: Seen | None
    ) -> tuple[Any, ...]:
        """Exchange one class for another, beside the exchanges so far; a class for itself undoes its own."""
        if old is None or new is None or seen is None or seen.labels is None:
            return self._exchanged(edits, None if seen is None else seen.labels)
        with told():
            changed = {**edits, **seen.labels.edits({old: new})}
        return self._exchanged({old: new for old, new in changed.items() if old != new}, seen.labels)

    def _exchanged(self, edits: Mapping[int, int], labels: Labels | None) -> tuple[Any, Any, Any]:
        names = {} if labels is None else labels.names
        text = ", ".join(f"{plain(names[old])} → {plain(names[new])}" for old, new in edits.items())
        there = gr.update(visible=bool(edits))
        return dict(edits), gr.update(visible=bool(edits), value=f"Exchanged: {text}"), there


def _named(labels: Labels | None, classes: Iterable[int]) -> list[tuple[str, str]]:
    """Classes as choices: what people read, and the id."""
    return [] if labels is None else [(labels.names[one], str(one)) for one in classes if one in labels.names]
