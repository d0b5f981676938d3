"""`mcpgw`: the two processes, their supervisor, and the operator's verbs.

Decides which verb runs and how an error reaches a person: one line on standard error and an exit code.
:mod:`mcpgw.up` is `./run up`; :mod:`mcpgw.verbs` is what operators ask, and :mod:`mcpgw.people` of whom.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.fence.errors import FenceError
from mcpgw.terminal import plain
from reconciler.core.errors import ActionError, TerminalError
from state.settings import EXIT_SETTINGS, SettingsError
from state.store.errors import StoreError

EXIT_FAILED = 1
ENV_FILE = Path(".env")

Verb = Callable[[argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code. Errors that a person can mend are one line each."""
    options = _parser().parse_args(words)
    verb: Verb = options.verb
    try:
        return verb(options)
    except (SettingsError, BootstrapError, TerminalError) as error:
        return _said(error, EXIT_SETTINGS)
    except (StoreError, ActionError, FenceError) as error:
        return _said(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _said(error: Exception, code: int) -> int:
    for line in str(error).splitlines():
        print(f"mcpgw: {plain(line)}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mcpgw", description="A container of one's own for every user.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add(verbs, "up", _up, "set up what is missing and run both processes")
    _add(verbs, "dev", _dev, "like up, and start again on every change of the code")
    for name, process in (("gateway", _gateway), ("reconciler", _reconciler)):
        _add(verbs, name, process, f"run the {name} process alone").add_argument(
            "--announce",
            action="store_true",
            help="tell the neighbours on its networks that this container is here (under compose)",
        )
    _add(verbs, "status", _status, "every user container, and why one is not ready")
    doctor = _add(verbs, "doctor", _doctor, "everything that has to be right, and the mend where it is not")
    doctor.add_argument(
        "part",
        nargs="?",
        choices=("gateway", "reconciler", "compose"),
        help="only what concerns this one: the other's settings are not here (as in its container); "
        "compose: what `docker compose up` would stumble over",
    )
    explain = _add(verbs, "explain", _explain, "all that is known of one user container")
    explain.add_argument("name", help="its name, or its user (github:583231)")
    _add(verbs, "users", _users, "everybody who signed in, and whether the policy lets them in now")
    for name, verb, help_ in (
        ("approve", _approve, "let somebody in though no rule matches them"),
        ("ban", _ban, "keep somebody out whatever the rules say, at once"),
        ("unban", _unban, "leave it to the rules again"),
    ):
        _add(verbs, name, verb, help_).add_argument("user", help="as `mcpgw users` lists it (github:583231)")
    _add(verbs, "app-key", _app_key, "mint a key for an App; the manifest holds only its hash")
    apply = _add(verbs, "apply", _apply, "read the manifests folder once and say what came of it")
    apply.add_argument(
        "--allow-deletes", action="store_true", help="delete as many objects as the files leave out"
    )
    _add(verbs, "sign-in-link", _sign_in_link, "a new one-time link for the local developer")
    fence = _add(verbs, "fence", _fence, "part containers from each other and from the host")
    mode = fence.add_mutually_exclusive_group()
    for flag, help_ in (
        ("keep", "stay, look every 30 s and mend what is gone"),
        ("check", "change nothing; the exit code says whether it stands"),
        ("remove", "take it away"),
    ):
        mode.add_argument(
            f"--{flag}", dest="mode", action="store_const", const=flag, default="once", help=help_
        )
    _add(verbs, "thaw", _thaw, "let the store rule although containers carry newer labels than it knows")
    _add(verbs, "schema", _schema, "print the JSON Schema of the manifests")
    return parser


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, verb: Verb, help_: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=help_, description=help_)
    parser.set_defaults(verb=verb)
    return parser


# Each verb imports what it needs: `mcpgw app-key` should not wait for a web framework to load.


def _up(_options: argparse.Namespace) -> int:
    from mcpgw.up import up  # noqa: PLC0415 (see above)

    return up(ENV_FILE)


def _dev(_options: argparse.Namespace) -> int:
    from mcpgw.up import dev  # noqa: PLC0415 (see above)

    return dev()


def _gateway(options: argparse.Namespace) -> int:
    from gateway.main import run  # noqa: PLC0415 (see above)
    from gateway.settings import GatewaySettings  # noqa: PLC0415 (see above)
    from state.logs import configure  # noqa: PLC0415 (see above)
    from state.settings import load_settings  # noqa: PLC0415 (see above)

    settings = load_settings(GatewaySettings, env_file=ENV_FILE)
    configure(settings.log_level, "gateway")
    _announce(options)
    return run(settings)


def _reconciler(options: argparse.Namespace) -> int:
    from reconciler.main import run  # noqa: PLC0415 (see above)
    from reconciler.settings import ReconcilerSettings  # noqa: PLC0415 (see above)
    from state.logs import configure  # noqa: PLC0415 (see above)
    from state.settings import load_settings  # noqa: PLC0415 (see above)

    settings = load_settings(ReconcilerSettings, env_file=ENV_FILE)
    configure(settings.log_level, "reconciler")
    _announce(options)
    return run(settings)


def _announce(options: argparse.Namespace) -> None:
    if options.announce:
        from mcpgw.announce import announce  # noqa: PLC0415 (see above)

        announce()


def _status(_options: argparse.Namespace) -> int:
    from mcpgw.verbs import status  # noqa: PLC0415 (see above)

    return status(ENV_FILE)


def _doctor(options: argparse.Namespace) -> int:
    from mcpgw.doctor import doctor  # noqa: PLC0415 (see above)

    return doctor(ENV_FILE, options.part or "")


def _explain(options: argparse.Namespace) -> int:
    from mcpgw.verbs import explain  # noqa: PLC0415 (see above)

    return explain(ENV_FILE, options.name)


def _users(_options: argparse.Namespace) -> int:
    from mcpgw.people import users  # noqa: PLC0415 (see above)

    return users(ENV_FILE)


def _approve(options: argparse.Namespace) -> int:
    from mcpgw.people import approve  # noqa: PLC0415 (see above)

    return approve(ENV_FILE, options.user)


def _ban(options: argparse.Namespace) -> int:
    from mcpgw.people import ban  # noqa: PLC0415 (see above)

    return ban(ENV_FILE, options.user)


def _unban(options: argparse.Namespace) -> int:
    from mcpgw.people import unban  # noqa: PLC0415 (see above)

    return unban(ENV_FILE, options.user)


def _app_key(_options: argparse.Namespace) -> int:
    from mcpgw.verbs import app_key  # noqa: PLC0415 (see above)

    return app_key()


def _apply(options: argparse.Namespace) -> int:
    from mcpgw.verbs import apply  # noqa: PLC0415 (see above)

    return apply(ENV_FILE, allow_deletes=options.allow_deletes)


def _sign_in_link(_options: argparse.Namespace) -> int:
    from mcpgw.up import sign_in_link  # noqa: PLC0415 (see above)

    return sign_in_link(ENV_FILE)


def _fence(options: argparse.Namespace) -> int:
    from mcpgw.fence.verb import fence  # noqa: PLC0415 (see above)

    return fence(ENV_FILE, options.mode)


def _thaw(_options: argparse.Namespace) -> int:
    from mcpgw.verbs import thaw  # noqa: PLC0415 (see above)

    return thaw(ENV_FILE)


def _schema(_options: argparse.Namespace) -> int:
    from mcpgw.verbs import schema  # noqa: PLC0415 (see above)

    return schema()
