"""What tests of the training share."""

from __future__ import annotations

from collections.abc import Callable

from vid2vid_hub.types import Encoded


def cut(encoded: Encoded) -> Callable[[int, int], Encoded]:
    """What a walk asks for its conditions, where those of the whole clip are there: tensors of (B, T, ...)."""

    def encode(start: int, stop: int) -> Encoded:
        where, flow = (x if x is None else x[:, start:stop] for x in (encoded.foreground, encoded.flow))
        return Encoded(encoded.features[:, start:stop], where, flow)

    return encode
