"""Whatever a person brings becomes the same blocks of uint8 pictures, a few at a time, or one sentence says why not."""

from itertools import count, repeat

import numpy as np
import pytest
import torch
from PIL import Image

from vid2vid_hub.data.maps import write_maps
from vid2vid_hub.data.pictures import BLOCK, picture_blocks
from vid2vid_hub.errors import VideoError

LENGTH, HEIGHT, WIDTH = 11, 6, 10
COLOURS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (LENGTH, 3, HEIGHT, WIDTH), np.uint8))
VALUES = COLOURS[:, :1].clone()
PALETTE = np.random.default_rng(1).integers(0, 256, 768).tolist()


def blocks(source, **how):
    return list(picture_blocks(source, **how))


def arrays(video):
    return video.permute(0, 2, 3, 1).contiguous().numpy()


def images(video, mode):
    """The pictures in one of Pillow's modes; a palette and an alpha say something that must not be looked at."""
    made = [Image.fromarray(array.squeeze()) for array in arrays(video)]
    for n, image in enumerate(made):
        if mode == "P":
            image.putpalette(PALETTE)
        if mode == "RGBA":
            image.putalpha(20 * n)
    assert {image.mode for image in made} == {mode}
    return made


def folder(path, video, mode):
    for n, image in enumerate(images(video, mode)):
        image.save(path / f"{n:03}.png")
    return path


def lossless(path, video):
    write_maps(path, video, 25)
    return path


COLOUR_SOURCES = {
    "array (T, H, W, 3)": lambda path: arrays(COLOURS),
    "array that is a view": lambda path: COLOURS.permute(0, 2, 3, 1).numpy(),
    "array that is read-only": lambda path: np.frombuffer(arrays(COLOURS).tobytes(), np.uint8).reshape(-1, 6, 10, 3),
    "tensor (T, 3, H, W)": lambda path: COLOURS,
    "tensor that is a view": lambda path: torch.from_numpy(arrays(COLOURS)).permute(0, 3, 1, 2),
    "RGB images": lambda path: images(COLOURS, "RGB"),
    "RGBA images": lambda path: images(COLOURS, "RGBA"),
    "arrays one by one": lambda path: iter(arrays(COLOURS)),
    "tensors one by one": lambda path: iter(COLOURS),
    "images one by one": lambda path: (image for image in images(COLOURS, "RGB")),
    "kinds mixed": lambda path: [COLOURS[0], *arrays(COLOURS)[1:4], *images(COLOURS, "RGBA")[4:]],
    "folder": lambda path: folder(path, COLOURS, "RGB"),
    "folder as text": lambda path: str(folder(path, COLOURS, "RGB")),
}
VALUE_SOURCES = {
    "array (T, H, W)": lambda path: arrays(VALUES)[..., 0],
    "array (T, H, W, 1)": lambda path: arrays(VALUES),
    "tensor (T, 1, H, W)": lambda path: VALUES,
    "grey images": lambda path: images(VALUES, "L"),
    "palette images": lambda path: images(VALUES, "P"),
    "palette images one by one": lambda path: iter(images(VALUES, "P")),
    "flat arrays one by one": lambda path: iter(arrays(VALUES)[..., 0]),
    "folder of grey": lambda path: folder(path, VALUES, "L"),
    "folder of palette": lambda path: folder(path, VALUES, "P"),
    "video file": lambda path: lossless(path / "values.mkv", VALUES),
    "video file as text": lambda path: str(lossless(path / "values.mkv", VALUES)),
}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        *(pytest.param(make, COLOURS, id=name) for name, make in COLOUR_SOURCES.items()),
        *(pytest.param(make, VALUES, id=name) for name, make in VALUE_SOURCES.items()),
    ],
)
def test_every_kind_of_input_gives_the_same_blocks(tmp_path, make, expected):
    found = blocks(make(tmp_path), block=4)
    assert [len(block) for block in found] == [4, 4, 3]
    assert {block.dtype for block in found} == {torch.uint8}
    assert torch.equal(torch.cat(found), expected)


def test_one_image_is_a_video_of_one_picture():
    (block,) = blocks(images(VALUES, "P")[3])
    assert torch.equal(block, VALUES[3:4])


@pytest.mark.parametrize(
    ("size", "expected"), [(1, [1] * LENGTH), (5, [5, 5, 1]), (LENGTH, [LENGTH]), (LENGTH + 9, [LENGTH])]
)
def test_only_the_last_block_is_shorter(size, expected):
    assert [len(block) for block in blocks(COLOURS, block=size)] == expected


def test_the_usual_block_is_small():
    assert [len(block) for block in blocks(COLOURS)] == [BLOCK, LENGTH - BLOCK]


@pytest.mark.parametrize("size", [1, BLOCK])
def test_a_block_is_a_copy_of_what_was_brought(size):
    video = COLOURS.clone()
    first = next(picture_blocks(video, block=size))
    video.zero_()
    assert torch.equal(first, COLOURS[:size])


def test_an_endless_iterator_is_read_only_as_far_as_needed():
    numbers = count()
    stream = picture_blocks(COLOURS[next(numbers) % LENGTH] for _ in repeat(None))
    assert next(numbers) == 0, "nothing is read before the first block is asked for"
    for asked in (1, 2, 3):
        assert len(next(stream)) == BLOCK
        assert next(numbers) == asked * BLOCK + asked


@pytest.mark.parametrize(
    "empty",
    [[], iter(()), COLOURS[:0], arrays(COLOURS)[:0], arrays(VALUES)[:0, ..., 0]],
    ids=["list", "iterator", "tensor", "array", "flat array"],
)
def test_no_pictures_at_all_is_an_error(empty):
    with pytest.raises(VideoError, match="the video has no frames"):
        blocks(empty)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (COLOURS[0].float(), r"torch\.float32 \(3, 6, 10\)"),
        (arrays(COLOURS)[0].astype(np.int64), r"int64 \(6, 10, 3\)"),
        (COLOURS[0, :2], r"torch\.uint8 \(2, 6, 10\)"),
        (COLOURS[0, :, :0], r"torch\.uint8 \(3, 0, 10\)"),
        (COLOURS[0, 0, :3], r"torch\.uint8 \(3, 10\)"),
        (arrays(COLOURS)[:1], r"uint8 \(1, 6, 10, 3\)"),
        (np.zeros((HEIGHT, WIDTH, 4), np.uint8), r"uint8 \(6, 10, 4\)"),
        (arrays(COLOURS)[0].astype(object), r"object \(6, 10, 3\)"),
        (Image.new("I;16", (WIDTH, HEIGHT)), r"uint16 \(6, 10\)"),
        (Image.new("F", (WIDTH, HEIGHT)), r"float32 \(6, 10\)"),
        ("000.png", "str"),
        (None, "NoneType"),
    ],
)
@pytest.mark.parametrize("number", [0, 2, 9])
def test_what_is_no_picture_is_named_by_its_number(wrong, found, number):
    pictures = [*COLOURS[:number], wrong, *COLOURS[number:]]
    with pytest.raises(VideoError, match=rf"picture {number} is {found}; expected uint8 with 1 or 3 channels"):
        blocks(pictures)


@pytest.mark.parametrize("number", [1, 3, 4, 9])
@pytest.mark.parametrize(
    ("other", "size"),
    [(COLOURS[0, :, :, :-2], "8x6 with 3 channels"), (VALUES[0], "10x6 with 1 channel")],
    ids=["size", "channels"],
)
def test_a_picture_unlike_the_others_is_named_by_its_number(other, size, number):
    pictures = [*COLOURS[:number], other, *COLOURS[number:]]
    with pytest.raises(VideoError, match=rf"picture {number} is {size} after 10x6 with 3 channels; all must be alike"):
        blocks(pictures, block=4)


def test_pictures_that_change_between_two_blocks_are_an_error():
    pictures = [*COLOURS[:BLOCK], *VALUES[:BLOCK]]
    with pytest.raises(VideoError, match=f"picture {BLOCK} is 10x6 with 1 channel after 10x6 with 3 channels"):
        blocks(pictures)


def test_blocks_before_the_wrong_picture_still_come():
    stream = picture_blocks([*COLOURS[:9], None], block=4)
    assert torch.equal(torch.cat([next(stream), next(stream)]), COLOURS[:8])
    with pytest.raises(VideoError, match="picture 9 is NoneType"):
        next(stream)


def test_a_path_that_is_not_there_is_an_error_of_the_video(tmp_path):
    with pytest.raises(VideoError, match=r"absent\.mp4 does not exist"):
        blocks(tmp_path / "absent.mp4")
