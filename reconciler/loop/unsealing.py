"""Opens users' secrets, at the one moment at which somebody needs them: on a spec's way to the engine.

Decides nothing but what cannot be opened. What it returns is for the engine alone, neither kept nor logged.
Next: :mod:`reconciler.loop.actuator`.
"""

from dataclasses import replace

from reconciler.core.container import ContainerSpec
from reconciler.core.errors import TerminalError
from reconciler.core.planned import title_of, value_wanting
from reconciler.core.world import World
from state.kinds.user_inputs import INPUT_UNREADABLE, why_unfit
from state.sealing import PrivateKey


def unsealed(spec: ContainerSpec, world: World, key: PrivateKey) -> ContainerSpec:
    """``spec`` with its secrets in plain text in its environment.

    Raises TerminalError, which names the inputs that have to be filled in again.
    """
    if not spec.secrets:
        return spec
    opened = {
        name: key.open(sealed, owner=world.user_container.uid, name=name) for name, sealed in spec.secrets
    }
    # Whoever can write the store can seal anything: an engine's complaint about it would quote it.
    plain = {name: value for name, value in opened.items() if value is not None and not why_unfit(value)}
    titles = tuple(title_of(world.template, name) for name in opened if name not in plain)
    if titles:
        wanting = value_wanting(INPUT_UNREADABLE, titles)
        raise TerminalError(wanting.reason, wanting.message)
    return replace(spec, env=tuple(sorted({**dict(spec.env), **plain}.items())), secrets=())
