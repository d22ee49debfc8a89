"""The routes of the pages, their files, and what the first of them is told of the model.

The pages themselves are open: a browser sends no token where a person follows a link. What is said
of the model is not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Optional

from ..config import ServerConfig
from ..route_table import refusal
from ..routes import (
    JSON_TYPE,
    PAGES,
    Answer,
    Description,
    Request,
    Route,
    RouteGroup,
    Vitals,
    described_response,
    json_answer,
)
from ..web.address import root_path_of

HTML_TYPE = "text/html"


class PageRoutes(RouteGroup):
    """`/` for browsers, `/docs`, and what belongs to them; every path in them is relative."""

    name = "pages"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        # That of the server, whichever process of it answers.
        self._since = time.time()
        get = ("GET",)
        self.routes = (
            Route("/", get, PAGES, self._page, is_open=True),
            Route("/page/model", get, PAGES, self._model),
            Route("/page/files/<name>", get, PAGES, _file, is_open=True),
            Route("/docs", get, PAGES, self._docs, is_open=True),
            Route("/docs/files/<name>", get, PAGES, self._viewer_file, is_open=True),
        )

    def describe(self) -> Description:
        """What people's browsers are answered."""
        page = {
            "200": described_response("The page.", HTML_TYPE),
            "304": {"description": "As before."},
        }
        file = {"200": {"description": "The file."}, "304": {"description": "As before."}}
        missing = described_response("Not for other clients than browsers.", JSON_TYPE)
        model = described_response("What the page shows.", JSON_TYPE)
        return Description(
            {
                "GET /": {
                    "summary": "A page to try the model in",
                    "responses": {**page, "404": missing},
                },
                "GET /page/model": {
                    "summary": "The model, as its page shows it",
                    "responses": {"200": model},
                },
                "GET /page/files/<name>": {"summary": "A file of a page", "responses": file},
                "GET /docs": {"summary": "A page with this description", "responses": page},
                "GET /docs/files/<name>": {"summary": "A file of that page", "responses": file},
            }
        )

    def _page(self, request: Request, _vitals: Vitals) -> Answer:
        from .static_files import OWN_FILES

        if HTML_TYPE not in request.headers.get("accept", ""):
            # Programs that look for something here are told what they were always told.
            return refusal(request.group, request.method, request.path)
        # The root path alone has no slash at its end.
        root = root_path_of(self._config.server.root_path)
        base = root + "/" if root else ""
        return OWN_FILES.answer("page.html", request, vary="Accept", base=base)

    def _model(self, _request: Request, vitals: Vitals) -> Answer:
        from .description import describe_for_page

        answer = json_answer(200, describe_for_page(self._config, vitals.groups, self._since))
        answer.headers.append(("Cache-Control", "no-store"))
        return answer

    def _docs(self, request: Request, _vitals: Vitals) -> Answer:
        from .static_files import OWN_FILES

        return OWN_FILES.answer("docs.html" if self._viewer else "no_docs.html", request)

    def _viewer_file(self, request: Request, _vitals: Vitals) -> Answer:
        from .static_files import viewer_files

        answer = viewer_files(self._viewer).find(request) if self._viewer else None
        return answer or refusal(request.group, request.method, request.path)

    @property
    def _viewer(self) -> Optional[str]:
        """The viewer's folder; None too where the configuration's is another machine's."""
        folder = self._config.server.docs_viewer
        return folder if folder is not None and Path(folder).is_dir() else None


def _file(request: Request, _vitals: Vitals) -> Answer:
    from .static_files import OWN_FILES

    return OWN_FILES.find(request) or refusal(request.group, request.method, request.path)
