"""How the programs beside this module tell an error of OpenAI's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai


def failure(call: Callable[[], object]) -> Any:
    """Return the class of the error that a call raises, with its status, code and type where it has them."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.type]
    except openai.APIError as error:
        return [type(error).__name__]
    return "no error"
