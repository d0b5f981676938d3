"""Settings: environment or ``.env`` → one frozen object, or every wrong setting in a line of its own.

Decides how settings are read and refused, and holds those that both processes share. Each process has its
own class in its own package (:mod:`gateway.settings`, :mod:`reconciler.settings`), so that neither can read
what only the other may know. A variable's name is its field's in capitals; an empty one counts as not set,
and a secret may stand in a file (``<SECRET>_FILE``), as container engines hand secrets over.
"""

import errno
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from dotenv.parser import parse_stream
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from state.kinds.resource import NAME_PATTERN
from state.manifests.problem import did_you_mean, shown
from state.setting_values import Domain, Location, Lower, Origin

PROJECT_NAME_CHARS_MAX = 32  # "<project>-<home>" must stay a DNS label of 63 with a Home's 26
EXIT_SETTINGS = 78  # Source: sysexits.h, EX_CONFIG: no other start helps before somebody mends it
STORE_SCHEMES = ("sqlite", "postgresql")
FROM_FILE = "_FILE"
SECRET_FILE_BYTES_MAX = 16 << 10
FULL = (errno.ENOSPC, errno.EDQUOT)

# The variables of a family that begin so stand for the same with any other name in the place of OIDC.
ANY_NAMED = "OAUTH_OIDC_"

_FAMILY_STEM = "OAUTH_"
_FOLLOWS_FROM_ANOTHER = "default_factory_not_called"
S = TypeVar("S", bound="SharedSettings")
Environment = Mapping[str, str]


class SettingsError(Exception):
    """What is wrong with the settings: one line for each, with its mend. Never a secret's value."""


class Place(NamedTuple):
    """Where a setting is written, and which field of which model it becomes."""

    variable: str
    model: type[BaseModel]
    field: str


class SharedSettings(BaseSettings):
    """What gateway and reconciler both have to know."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    family_fields: ClassVar[frozenset[str]] = frozenset()  # made of several variables, and read by `gathered`
    family_variables: ClassVar[tuple[str, ...]] = ()

    container_project_name: Annotated[
        str, Field(pattern=NAME_PATTERN, max_length=PROJECT_NAME_CHARS_MAX, description="a DNS label")
    ] = "mcpgw"
    state_dir: Location = Path("var/state")
    store_url: SecretStr = Field(default_factory=lambda known: _store_url(known.get("state_dir")))
    gateway_origin: Origin = "http://localhost:9000"
    workload_domain: Domain = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = "info"

    @field_validator("store_url")
    @classmethod
    def _is_known_store(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value().partition("://")[0] not in STORE_SCHEMES:
            raise ValueError("is no store; write sqlite:///<path> or postgresql://<user>@<host>/<database>")
        return url

    @classmethod
    def gathered(cls, given: Environment) -> dict[str, Any]:
        """``family_fields`` from the variables that make them up."""
        del given
        return {}

    @classmethod
    def is_secret(cls, variable: str) -> bool:
        """Whether ``variable`` may stand in a file that ``<variable>_FILE`` names."""
        field = cls.model_fields.get(variable.lower())
        return field is not None and field.annotation is SecretStr

    @classmethod
    def place(cls, loc: tuple[str | int, ...]) -> Place:
        """Where a person finds what is at ``loc``."""
        return Place(str(loc[0]).upper(), cls, str(loc[0]))

    @classmethod
    def missing(cls, loc: tuple[str | int, ...], given: Mapping[str, Any]) -> str:
        """What to say of a setting that is not there beside ``given``."""
        del loc, given
        return "is not set; set it"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what :func:`load_settings` passes: nothing is read behind its back."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def _store_url(state_dir: Path | None) -> SecretStr:
    return SecretStr(f"sqlite:///{state_dir}/state.db")


def load_settings(
    cls: type[S],
    environ: Environment | None = None,
    env_file: Path | None = None,
    below: Environment | None = None,
) -> S:
    """``cls`` from ``environ`` (the process's own if None) over ``env_file`` over ``below``.

    Raises SettingsError with one line for every setting that is wrong.
    """
    layers = (below or {}, written_in(env_file), os.environ if environ is None else environ)
    given = _opened(cls, {name: value for layer in layers for name, value in layer.items() if value.strip()})
    plain = [name for name in cls.model_fields if name not in cls.family_fields]
    fields = {name: given[name.upper()] for name in plain if name.upper() in given}
    try:
        return cls.model_validate({**fields, **cls.gathered(given)})
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = [_line(cls, detail) for detail in details if detail["type"] != _FOLLOWS_FROM_ANOTHER]
        raise SettingsError("\n".join(dict.fromkeys(lines))) from None


def setting_names(*classes: type[SharedSettings]) -> tuple[str, ...]:
    """Every variable that the classes read, each once."""
    return tuple(dict.fromkeys(name for cls in classes for name in _names(cls)))


def _names(cls: type[SharedSettings]) -> list[str]:
    plain = [name.upper() for name in cls.model_fields if name not in cls.family_fields]
    names = [*plain, *cls.family_variables]
    return [*names, *(name + FROM_FILE for name in names if cls.is_secret(name))]


def _opened(cls: type[SharedSettings], given: Environment) -> Environment:
    """``given`` with the secrets that stand in files: ``<SECRET>_FILE`` names the file of ``<SECRET>``, and
    an empty file counts as not set. Raises SettingsError with a line for each that is wrong.
    """
    opened, wrong = dict(given), []
    for name in given:
        secret = name.removesuffix(FROM_FILE)
        if secret == name or not cls.is_secret(secret):
            continue
        try:
            content = _content(Path(given[name]).expanduser())
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "it is no file with text"
            mend = "let this user read it, or mend the path"
            wrong.append(f"{name}={shown(given[name])} cannot be read ({reason}); {mend}")
            continue
        if content and secret in given:
            wrong.append(f"{name} is set beside {secret}; leave one of them out")
        elif content:
            opened[secret] = content
    if wrong:
        raise SettingsError("\n".join(wrong))
    return opened


def _content(path: Path) -> str:
    """The file's text without the blanks around it. Never waits, also where it is no file at all."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return (file.read(SECRET_FILE_BYTES_MAX) or b"").decode().strip()


def near_misses(env_file: Path | None, names: Iterable[str]) -> list[str]:
    """A warning for each variable in ``env_file`` that nobody reads but that looks like one of ``names``."""
    written = written_in(env_file)
    known = tuple(names)
    known += _of_any_name(written, known)
    unread = [name for name in written if name not in known]
    meant = [(name, did_you_mean(name, known, cutoff=0.8)) for name in unread]
    return [f"{name} in {env_file} is not read; did you mean {known}?" for name, known in meant if known]


def _of_any_name(written: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The variables of the families that are written under names of their own."""
    parts = [name.removeprefix(ANY_NAMED) for name in known if name.startswith(ANY_NAMED)]
    stems = {
        name.removesuffix(part)
        for name in written
        for part in parts
        if name.startswith(_FAMILY_STEM) and name.endswith(f"_{part}")
    }
    own = [stem for stem in sorted(stems) if not any(name.startswith(stem) for name in known)]
    return tuple(stem + part for stem in own for part in parts)


def manifest_variables(settings: SharedSettings) -> dict[str, str]:
    """What ``${VAR}`` in a manifest may name: the settings that are set, no secret and no family."""
    return {
        name.upper(): _written(value)
        for name, value in settings
        if name not in settings.family_fields
        and not isinstance(value, SecretStr)
        and value not in (None, "", ())
    }


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def written_in(env_file: Path | None) -> dict[str, str]:
    """What the file says, of whatever name. Raises SettingsError for what is no such file."""
    if env_file is None or not env_file.exists():
        return {}
    try:
        _refuse_unreadable_lines(env_file)  # the source below passes over them, and over what is no file
        source = DotEnvSettingsSource(SharedSettings, env_file=env_file, case_sensitive=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SettingsError(f"{env_file} cannot be read ({reason}); mend or remove the file") from None
    return {name: value for name, value in source.env_vars.items() if value is not None}


def _refuse_unreadable_lines(env_file: Path) -> None:
    """Raises SettingsError, OSError, UnicodeDecodeError. A setting that is passed over counts as not set."""
    with env_file.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error:
                text = binding.original.string  # with the empty lines before it
                line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
                raise SettingsError(
                    f"{env_file}, line {line}, cannot be read; write NAME=value, and close quotes"
                )


def _line(cls: type[SharedSettings], detail: Any) -> str:
    """``NAME="value" what; mend``. A check that spans settings names them itself."""
    if not detail["loc"]:
        return str(detail["ctx"]["error"])
    place = cls.place(detail["loc"])
    if detail["type"] == "missing":
        return f"{place.variable} {cls.missing(detail['loc'], detail['input'])}"
    field = place.model.model_fields[place.field]
    name = place.variable
    if isinstance(detail["input"], str) and field.annotation not in (SecretStr, SecretStr | None):
        name += f"={shown(detail['input'])}"
    return f"{name} {_what_and_mend(field.description, detail)}"


def _what_and_mend(description: str | None, detail: Any) -> str:
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"]).removeprefix(f"{detail['input']!r} ")
        case "literal_error" | "enum":
            return f"is not one of its values; write {detail['ctx']['expected']}"
        case "string_pattern_mismatch":
            return f"does not fit; write {description or detail['ctx']['pattern']}"
    return f"is not accepted; {detail['msg'][:1].lower()}{detail['msg'][1:]}".replace("input", "it", 1)


def usable_directory(setting: str, path: Path, *, mode: int = 0o700) -> Path:
    """``path``, made if it is missing and tried by a new file. Raises SettingsError that names ``setting``.

    Whether there is room for more is not asked: with a full disk below users' data, much goes on.
    """
    probe = path / f".writable-{secrets.token_hex(8)}"  # nobody has put a link there
    try:
        if not path.is_dir():
            path.mkdir(mode=mode & 0o777, parents=True, exist_ok=True)
            path.chmod(mode)  # the umask has no say
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except OSError as error:
        raise unwritable(setting, path, error) from None
    return path


def unwritable(setting: str, path: Path, error: OSError) -> SettingsError:
    """What to say where something could not be written in the directory ``path`` of ``setting``."""
    what = f"{setting}={shown(str(path))} cannot be written ({error.strerror})"
    mend = "make room there" if error.errno in FULL else "make it writable for this user"
    return SettingsError(f"{what}; {mend}, or name another directory")
