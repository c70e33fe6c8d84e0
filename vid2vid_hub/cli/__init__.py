"""The command line: every command reads its arguments, calls one function of the library, and says what came of it."""

from vid2vid_hub.cli import convert, data, learn, make, push, zoo
from vid2vid_hub.cli.app import app, main

__all__ = ["app", "convert", "data", "learn", "main", "make", "push", "zoo"]
