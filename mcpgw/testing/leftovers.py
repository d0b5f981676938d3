"""Takes away what killed tests left: networks keep subnets, and containers start with their engine."""

import re
import time

from mcpgw.bootstrap.engine_api import Engine, label_values, remove_labelled
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.progress import say
from mcpgw.testing.fences import remove_fence
from reconciler.core.container import LABEL_PROJECT

LABEL_COMPOSED = "com.docker.compose.project"
OF_A_TEST = re.compile(r"t([0-9a-f]{8}|[0-9a-f]{10})")  # as houses and fixtures name their projects
AGE_S_MIN = 3600.0  # far beyond what a test takes: another run on this machine may be under way


def sweep(engine: Engine, age_s_min: float = AGE_S_MIN) -> None:
    """Remove each project of a test's that has made nothing for so long. Another run may do so at once.

    What the engine does not give up is told, and stays: it is in nobody's way who asks for free subnets.
    """
    for label in (LABEL_COMPOSED, LABEL_PROJECT):  # first what would make anew what is removed
        for project, youngest in label_values(engine, label).items():
            if OF_A_TEST.fullmatch(project) and youngest < time.time() - age_s_min:
                _remove(engine, label, project)


def _remove(engine: Engine, label: str, project: str) -> None:
    try:
        remove_labelled(engine, f"{label}={project}")
        remove_fence(project)
    except BootstrapError as error:
        say(f"{project}, left by a test that was killed, cannot be removed: {error}")
