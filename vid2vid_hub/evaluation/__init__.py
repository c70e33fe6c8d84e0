"""Measures of generated video, always beside floors of the same frames."""
