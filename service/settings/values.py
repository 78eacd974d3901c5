"""The types of the settings' values: times, groups, addresses, secrets and rates."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from rag.boundary.secrets import remember
from rag.boundary.urls import credentials_in, has_two_ats
from rag.ports import PUBLIC


class Section(BaseModel):
    """A section of the configuration: an unknown key is an error, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def seconds(value: Any) -> Any:
    """Seconds from a number, also as text, or from text such as "30s", "5m", "2h" or "1d"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip()) if isinstance(value, str) else None
    if match:
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    if isinstance(value, str):
        raise ValueError(f'{value!r} is not a time; write "30s", "5m", "2h" or "1d"')
    return value


def _group(value: Any) -> Any:
    if isinstance(value, str) and value.strip() in (PUBLIC, ""):
        raise ValueError(f"{value!r} is not a valid group")
    return value


def _acl(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise ValueError(f'gives nobody access; leave it out, or write ["{PUBLIC}"] for all of the tenant')
    if isinstance(value, list | tuple) and list(value) != [PUBLIC]:
        return [_group(group) for group in value]
    return value


def _url(value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        remember(credentials_in(text))
        if has_two_ats(text):
            raise ValueError(
                "has two @, so it is unclear where the password ends. Write an @ in the user or password as %40, or "
                'set it separately: password = "..."'
            )
    return value


def _secret(value: SecretStr) -> SecretStr:
    remember([value.get_secret_value()])
    return value


def checked_rate(rate: str) -> str:
    """A rate that can be read. Raises ValueError, with an example, for another one."""
    from limits import parse_many

    try:
        if rate:
            parse_many(rate)
    except ValueError as err:
        raise ValueError(f'{rate!r} is not a rate; write "60/minute" or "5/second;1000/day"') from err
    return rate


Url = Annotated[str, BeforeValidator(_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Group = Annotated[str, Field(min_length=1), BeforeValidator(_group)]
Acl = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_acl)]
Duration = Annotated[float, BeforeValidator(seconds)]
Rate = Annotated[str, AfterValidator(checked_rate)]
