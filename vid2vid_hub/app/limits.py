"""How much a visitor may ask for, in one place: of his upload, of the machine's time, and of its disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the app grants.

    Attributes:
        upload: bytes of an upload.
        seconds: of a video that are looked at; a longer one is refused.
        frames: of a video; more are refused.
        pixels: of a frame of an upload.
        work_pixels: of a frame that is looked at and generated; larger videos are made smaller first.
        memory: bytes that decoding may take in its own process.
        decode_seconds: processor time that decoding a whole video may take; and twice as much by the clock.
        queue: visitors who wait at once; more are told to come back.
        future: frames that a model may go on for.
        keep: seconds after which uploads and results are removed.
        disk: bytes of uploads and results together; over it the oldest go first.
        weights: bytes of weights that a model from the Hub may have.
        models: pipelines that are kept in memory at once.
        live: visitors whose cameras are live at once.
        requests: of one address in a minute.
        folders: whether a model may be a folder of this machine.
        mark: whether generated frames carry a small visible mark.
    """

    upload: int = 200_000_000
    seconds: float = 60.0
    frames: int = 1800
    pixels: int = 4096 * 2304
    work_pixels: int = 1024 * 576
    memory: int = 1_500_000_000
    decode_seconds: int = 120
    queue: int = 32
    future: int = 250
    keep: int = 3600
    disk: int = 20_000_000_000
    weights: int = 4_000_000_000
    models: int = 4
    live: int = 2
    requests: int = 3000
    folders: bool = True
    mark: bool = False


LOCAL = Limits()
"""For the person at this machine."""
PUBLIC = Limits(
    upload=100_000_000,
    seconds=20.0,
    frames=600,
    work_pixels=512 * 288,
    decode_seconds=30,
    future=60,
    weights=1_000_000_000,
    requests=600,
    folders=False,
    mark=True,
)
"""For a Space, where anybody comes."""
