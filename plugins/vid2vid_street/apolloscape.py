"""Apolloscape's label table (Huang et al., CVPR workshops 2018).

Names, ids and colours are facts of the dataset's published table, with its spellings "siderwalk" and "vegatation"
mended. Copies of that table agree on all of them but two colours: a traffic cone is (255, 128, 64) in some, and what is
unlabeled is black in some. They agree on no trainIds that are Cityscapes'; which class means the same as one of
Cityscapes' was decided here.
"""

from __future__ import annotations

# id in files: (name, colour, the class of Cityscapes that means the same)
APOLLOSCAPE: dict[int, tuple[str, int, str | None]] = {
    0: ("others", 0x000000, None),
    1: ("rover", 0x000000, None),
    17: ("sky", 0x4682B4, "sky"),
    33: ("car", 0x00008E, "car"),
    34: ("motorbicycle", 0x0000E6, "motorcycle"),
    35: ("bicycle", 0x770B20, "bicycle"),
    36: ("person", 0x0080C0, "person"),
    37: ("rider", 0x804080, "rider"),
    38: ("truck", 0x8000C0, "truck"),
    39: ("bus", 0xC00040, "bus"),
    40: ("tricycle", 0x8080C0, None),
    49: ("road", 0xC080C0, "road"),
    50: ("sidewalk", 0xC08040, "sidewalk"),
    65: ("traffic cone", 0x000040, None),
    66: ("road pile", 0x0000C0, None),
    67: ("fence", 0x404080, "fence"),
    81: ("traffic light", 0xC04080, "traffic light"),
    82: ("pole", 0xC08080, "pole"),
    83: ("traffic sign", 0x004040, "traffic sign"),
    84: ("wall", 0xC0C080, "wall"),
    85: ("dustbin", 0x4000C0, None),
    86: ("billboard", 0xC000C0, None),
    97: ("building", 0xC00080, "building"),
    98: ("bridge", 0x808000, None),
    99: ("tunnel", 0x800000, None),
    100: ("overpass", 0x408040, None),
    113: ("vegetation", 0x808040, "vegetation"),
    255: ("unlabeled", 0xFFFFFF, None),
}
APOLLOSCAPE_MOVING = range(33, 41)
GROUPS = 161 - 33
"""A crowd that was not told apart has its class's id and this much more: car groups are 161, tricycle groups 168."""
SKY = 17
