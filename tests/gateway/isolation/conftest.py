"""A scene for each way in which a gateway and its Homes may stand to each other; one browser for each."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway.conftest import BOB_HOME
from tests.gateway.isolation.scene import (
    ANN_HOME,
    APART,
    BELOW,
    HOSTILE_PATH,
    LINKS_ALONE,
    LOCAL,
    Scene,
    Visit,
    link_of,
    staged,
    visiting,
)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[LOCAL, APART, BELOW], ids=["local", "apart", "below"]
)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with staged(request.param) as scene:
        yield scene


@pytest_asyncio.fixture(loop_scope="module", params=["her own page", "a link of another's"])
async def visit(request: pytest.FixtureRequest, scene: Scene) -> AsyncIterator[Visit]:
    """The hostile page is the one that Ann opened of her own container, or a link that Bob sent her."""
    is_own = request.param == "her own page"
    url = scene.home(ANN_HOME) + HOSTILE_PATH if is_own else scene.home(BOB_HOME) + link_of(BOB_HOME)
    async with visiting(scene, url) as visit:
        yield visit


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def links_alone() -> AsyncIterator[Scene]:
    async with staged(LINKS_ALONE) as scene:
        yield scene
