"""The command line for launchers that start modules: ``python -m``, ``torchrun -m``, ``accelerate launch -m``."""

from __future__ import annotations

from vid2vid_hub.cli import main

if __name__ == "__main__":
    main()
