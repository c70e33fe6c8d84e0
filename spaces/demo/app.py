"""The app of the Space: every task that is installed, with the limits of a place where anybody comes."""

from contextlib import suppress

with suppress(ImportError):  # nothing but ZeroGPU needs it, and that wants it before PyTorch
    import spaces  # noqa: F401

from vid2vid_hub.app import PUBLIC, build, launch

demo = build(PUBLIC)

if __name__ == "__main__":
    launch(demo, PUBLIC)
