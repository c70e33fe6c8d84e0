"""Clips on disk: pictures in and out, lossless maps, datasets and the drawn world."""
