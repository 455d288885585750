"""The small JSON files of a Hugging Face model folder, read without importing torch.

It does not interpret the architecture (model.py) or read weights (checkpoint.py).
"""

import json
from pathlib import Path
from typing import Any

from r1cli.errors import InputError


def require_file(folder: str | Path, name: str, purpose: str) -> Path:
    """The path of a file that must be there; raises InputError naming the folder, the file and what it is for."""
    path = Path(folder) / name
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such model folder")
    if not path.is_file():
        raise InputError(f"{folder}: no {name} ({purpose}); expected a model folder in Hugging Face format")
    return path


def read_json(folder: str | Path, name: str) -> dict[str, Any] | None:
    """A JSON object, or None when there is no such file; raises InputError when it is not a JSON object."""
    path = Path(folder) / name
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); restore the file") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def end_tokens(folder: str | Path, config: dict[str, Any] | None = None) -> tuple[int, ...]:
    """Ids that end a completion: eos_token_id (a number or a list) of generation_config.json, else of config.json.

    `config` is the content of config.json when the caller has it already. Empty when neither file names one.
    """
    for source in (read_json(folder, "generation_config.json"), config or read_json(folder, "config.json")):
        found = (source or {}).get("eos_token_id")
        if found is not None:
            ids = found if isinstance(found, list) else [found]
            if not all(type(token) is int and token >= 0 for token in ids):
                raise InputError(f"{folder}: eos_token_id is {found!r}, expected a token id or a list of them")
            return tuple(dict.fromkeys(ids))
    return ()
