"""Context windows by scenario, in tokens."""

from typing import Literal, get_args

Profile = Literal["chat", "document", "log", "book"]
DEFAULT_PROFILE: Profile = "chat"
PROFILES: dict[str, int] = dict(zip(get_args(Profile), (8_192, 32_768, 65_536, 131_072), strict=True))
