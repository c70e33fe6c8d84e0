"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips, labels, weights and fixtures beside the checkout; tests that need them skip without them."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("VID2VID_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"needs the shared fixtures and clips, and there is no folder {folder}; set VID2VID_SHARED")
    return folder

# Machines that build and test are slow and shared: a slow draw says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
