"""`citewell keys`: make, list, rotate and revoke API keys."""

from typing import Annotated

import typer

from rag.errors import ConfigError
from service.cli.command import DEFAULT_CONFIG, ConfigOption, JsonOption, command, opened, print_json

app = typer.Typer(
    no_args_is_help=True,
    help="Create, list, rotate and revoke API keys. Once the first one exists, every request needs one.",
)
KeyArgument = Annotated[str, typer.Argument(help="The key's id, as `citewell keys list` shows it.")]


@app.command()
@command
def create(
    name: Annotated[str, typer.Argument(help="What or whom the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="ask, ingest or admin (includes all); repeatable.")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant of the key's users; identity.tenant when empty.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="Group that the key's users belong to; repeatable.")] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Source that the key may use; repeatable; all if none.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Profile that the key may use; repeatable; all if none.")
    ] = None,
    rate: Annotated[str, typer.Option(help='Rate such as "60/minute"; limits.rate when empty.')] = "",
    concurrent: Annotated[int, typer.Option(min=0, help="Concurrent requests; limits.concurrent when 0.")] = 0,
    expires: Annotated[str, typer.Option(help="Lifetime such as 90d; unlimited when empty.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a key and print it: it is shown this once, because only its hash is kept."""
    from service.store.keys import Rights, checked_scopes

    with opened(config) as services:
        settings, keys = services.settings, services.keys()
        for each in source or ():
            services.catalogue.settings(each)
        rights = Rights(
            scopes=checked_scopes(scope or ["ask"]),
            tenant=tenant or settings.identity.tenant,
            groups=tuple(group or ()),
            sources=tuple(source or ()),
            profiles=_profiles(profile or []),
            rate=_rate(rate),
            concurrent=concurrent,
        )
        key, token = keys.create(name, rights, expires_s=_seconds(expires) if expires else None)
    if as_json:
        print_json(key.as_dict() | {"token": token})
    else:
        print(token)


@app.command("list")
@command
def list_keys(as_json: JsonOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show all keys with their rights, without their secrets."""
    from service.cli.terminal import print_keys

    with opened(config) as services:
        found = services.keys().all()
    if as_json:
        print_json({"keys": [key.as_dict() for key in found]})
    else:
        print_keys(found)


@app.command()
@command
def rotate(
    key: KeyArgument,
    overlap: Annotated[str, typer.Option(help="How long the old secret stays valid, such as 1d.")] = "1d",
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Give a key a new secret with the same rights, and print it; the old one goes on for a while."""
    with opened(config) as services:
        token = services.keys().rotate(key, overlap_s=_seconds(overlap))
    if as_json:
        print_json({"id": key, "token": token})
    else:
        print(token)


@app.command()
@command
def revoke(key: KeyArgument, as_json: JsonOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End a key; a running service knows within a second."""
    with opened(config) as services:
        services.keys().revoke(key)
    if as_json:
        print_json({"id": key, "revoked": True})
    else:
        print(f"Revoked {key}.")


def _profiles(names: list[str]) -> tuple[str, ...]:
    from rag.prompt.profiles import PROFILES

    wrong = [name for name in names if name not in PROFILES]
    if wrong:
        raise ConfigError(f"There is no profile {wrong[0]!r}. Profiles: {', '.join(PROFILES)}.")
    return tuple(names)


def _rate(rate: str) -> str:
    from service.settings.values import checked_rate

    try:
        return checked_rate(rate)
    except ValueError as err:
        raise ConfigError(f"--rate: {err}") from err


def _seconds(text: str) -> float:
    from service.settings.values import seconds

    try:
        return float(seconds(text))
    except ValueError as err:
        raise ConfigError(str(err)) from err
