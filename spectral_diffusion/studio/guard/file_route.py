"""Files that people uploaded or made, sent so that a browser shows pictures and saves everything else."""

import os
import stat
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from spectral_diffusion.studio.guard.grants import FILE_ROUTE
from spectral_diffusion.studio.guard.refusal import Refusal

_SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}


def file_route(folder: Path) -> Route:
    """The route by which a page loads files, in the place of Gradio's, which shows all files to all people.

    The guard has asked whose file it is, before. Here it is only seen to that it is an ordinary file of the folder.

    Args:
        folder: Of all files that the studio serves, without links in its own path.
    """

    def send(request: Request) -> Response:
        path = request.path_params["path"]
        try:
            found = os.lstat(path)
            ordinary = stat.S_ISREG(found.st_mode) and os.path.realpath(path) == path
        except (OSError, ValueError):
            raise Refusal(404, "The file is not there any more.") from None
        if not ordinary or not Path(path).is_relative_to(folder):
            raise Refusal(403, "That is not a file of this studio.")
        kind = _SHOWN.get(os.path.splitext(path)[1].lower())
        return FileResponse(
            path,
            media_type=kind or "application/octet-stream",
            filename=os.path.basename(path),
            content_disposition_type="inline" if kind else "attachment",
            stat_result=found,
        )

    return Route(FILE_ROUTE + "{path:path}", send, methods=["GET", "HEAD"])
