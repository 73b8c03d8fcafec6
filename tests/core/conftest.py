"""What the mutants share: the explorer's programs, source by source."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exploring


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every source of the explorer's programs, compiled by itself."""
    folder = tmp_path_factory.mktemp("objects")
    for program in exploring.PROGRAMS:
        exploring.build_objects(folder, program)
    return folder
