"""The workers of these tests import their functions from stage_functions."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
