"""The command line: every command reads its arguments, calls one function of the library, and says what came of it."""

from vid2vid_hub.cli import data, learn, make
from vid2vid_hub.cli.app import app, main

__all__ = ["app", "data", "learn", "main", "make"]
