"""What happens between a person's click and a function of ours: who it is, and words when something is wrong."""

import html
import inspect
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from spectral_diffusion.errors import SpectralDiffusionError
from spectral_diffusion.studio.studio import Studio

_LOG = logging.getLogger("spectral_diffusion.studio")
ERROR_SECONDS = 15.0


def event(studio: Studio, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a desk as Gradio calls it.

    Args:
        studio: Where the desk is.
        function: Its first parameter is the `Desk` of the person; the others are values of components, or Gradio's
            `EventData`.

    Returns:
        The same function with Gradio's request in place of the desk. What is wrong is told in words, without a
        traceback; a fault of ours goes to the log.
    """

    def call(request: gr.Request, *values: Any) -> Any:
        try:
            return function(studio.desk(request.username), *values)
        except gr.Error:
            raise
        except SpectralDiffusionError as error:
            raise _shown(f"{error.what}. {_sentence(error.remedy)}") from None
        except Exception as error:
            _LOG.exception("a fault of ours in %s", getattr(function, "__name__", function))
            raise _shown(f"A fault of ours ({type(error).__name__}). The studio's terminal tells more.") from None

    signature = inspect.signature(function)
    desk, *others = signature.parameters.values()
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    hints = {name: hint for name, hint in inspect.get_annotations(function, eval_str=True).items() if name != desk.name}
    call.__name__ = getattr(function, "__name__", "event")
    call.__doc__ = function.__doc__
    call.__module__ = function.__module__
    call.__signature__ = signature.replace(parameters=[request, *others])  # pyright: ignore[reportFunctionMemberAccess]
    call.__annotations__ = {"request": gr.Request, **hints}
    return call


def _shown(text: str) -> gr.Error:
    # Toasts show markup, and names in it may be anybody's.
    return gr.Error(
        html.escape(_sentence(text)), duration=ERROR_SECONDS, print_exception=False, title="That did not work"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
