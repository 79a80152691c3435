"""What happens between a person's click and a function of ours: who it is, and words when something is wrong."""

import html
import inspect
import logging
import re
from collections.abc import Callable
from typing import Any

import gradio as gr

from spectral_diffusion.errors import SpectralDiffusionError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.studio import Studio

_LOG = logging.getLogger("spectral_diffusion.studio")
ERROR_SECONDS = 15.0
_FETCH = "ask whoever runs this studio to fetch it once"
# In this order: what comes first is more particular.
_ON_THE_PAGE = (
    (r"with `spectral-diffusion slots release [^`]*`", "in Slots"),
    (r"write elsewhere with --out; or, to replace it, delete that file", "to replace it, delete that file in Files"),
    (r"start one with `spectral-diffusion worker`", "ask whoever runs this studio to start one"),
    (r"see what there is with `spectral-diffusion jobs list`", "reload the page"),
    (r"report what `spectral-diffusion jobs logs` prints", "report what its log says"),
    (r"that `spectral-diffusion train` or `fuse` wrote", "that this program wrote"),
    (r"train (?:again |anew )?without --resume(?: to begin anew)?", "train it anew"),
    (r"choose --device auto or cpu", "ask whoever runs this studio"),
    (r"install again: pip install --force-reinstall \.", "ask whoever runs this studio to install it again"),
    (r"give --prompt, --reference or both", "write a prompt, choose concepts, or both"),
    (r"draw anew with --prompt and --adapter", "draw anew in Create"),
    (r"give its file, (sha256 of tensors \w+)\.\.\., with --adapter", r"import its file in Files: \1"),
    (r"give one another word: --rename [^;]*", "import one that has another token"),
    (r"give one for all with --factor-scale", "choose one of them, or the adapters that they were fused from"),
    (r"fuse adapters of one base, or --allow-other-base for [^;]*", "choose adapters that were trained on one model"),
    (r"use --base .*, or --allow-other-base for [^;]*", "choose adapters that were trained on the model that is here"),
    (r"use --base .*|give the folder of .* with --base", "ask whoever runs this studio to run that model"),
    (r" and go on from .* with --resume", ""),
    (r"lower the learning rates", "train it anew with a lower learning rate"),
    (r", with the file manager or `zip -r`", ", with the file manager"),
    (r"change --trials", "choose another number of pictures"),
    (r"install again, or name another with --scorer", "ask whoever runs this studio to install it again"),
    (r"run this once with a network and HF_HUB_OFFLINE unset, or name a local one: --scorer \S+", _FETCH),
    (r"check the name and the connection, unset HF_HUB_OFFLINE, or fetch it once with: hf download .*", _FETCH),
    (
        r"update spectral-diffusion(?:: pip install --upgrade spectral-diffusion)?",
        "ask whoever runs this studio to update it",
    ),
    (r"pip install tensorboard, or set training\.tensorboard = false", "ask whoever runs this studio to install it"),
    (r"give a complete one with --config", "ask whoever runs this studio to give one"),
    (r"check --database, and that its server runs and lets you in", "ask whoever runs this studio"),
    (r"name a path inside it, or work without --queue", "ask whoever runs this studio"),
    (r"make it again from the adapter files: spectral-diffusion slots rebuild", "ask whoever runs this studio"),
    (r"try again: spectral-diffusion jobs retry \w+", "try it again"),
)


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
            return function(Desk.of(studio, request.username), *values)
        except gr.Error:
            raise
        except SpectralDiffusionError as error:
            raise _shown(in_page_words(error)) from None
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


def in_page_words(error: SpectralDiffusionError) -> str:
    """What went wrong and what to do about it, as the page says it: remedies of the terminal are those of the page.

    Args:
        error: Its text is plain; where it goes into HTML it is still to be escaped.
    """
    return f"{sentence(error.what)}. {sentence(on_the_page(error.remedy))}"


def on_the_page(text: str) -> str:
    """A text with what can be done on the page in place of commands and options of the terminal."""
    for pattern, words in _ON_THE_PAGE:
        text = re.sub(pattern, words, text)
    return text


def sentence(text: str) -> str:
    """A text with a capital, as a sentence begins."""
    return text[:1].upper() + text[1:]


def _shown(text: str) -> gr.Error:
    # Toasts show markup, and names in it may be anybody's.
    return gr.Error(
        html.escape(sentence(text)), duration=ERROR_SECONDS, print_exception=False, title="That did not work"
    )
