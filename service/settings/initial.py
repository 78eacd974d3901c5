"""The configuration that `citewell init` writes."""

import os
from pathlib import Path

from rag.errors import ConfigError

_INITIAL = """# Citewell's configuration. Every key is described in docs/configuration.md; `citewell doctor` checks it.
# Any value may be given by the environment too (CITEWELL_SECTION__KEY), and may hold ${VARIABLES}.

data_dir = ".citewell"

# A vLLM server, or any other OpenAI-compatible one. Without one, answers quote the best sentences.
[llm]
urls = []
model = "Qwen/Qwen2.5-7B-Instruct"
profile = "chat"
"""


def write_initial(path: Path) -> None:
    """Write a configuration. Raises ConfigError when there is one already."""
    try:
        with path.open("x", encoding="utf-8") as file:
            os.chmod(path, 0o600)  # database URLs with passwords will stand in it
            file.write(_INITIAL)
    except FileExistsError as err:
        raise ConfigError(f"{path} exists already. Edit it, or give another file with --config.") from err
    except OSError as err:
        raise ConfigError(f"{path} cannot be written: {err}") from err
