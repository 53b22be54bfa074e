"""What every page has: an escape for all that a stranger wrote, and a policy for one style."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from verifier.reports import figures
from verifier.reports.foreign_text import visible

OWN_CHARACTERS = 4_000
"""The most of any text; what is a stranger's goes through the filter `foreign` and is shorter."""


def render_page(template: str, **values: object) -> str:
    """Fill a template that lies here; `style` and its hash are given to all."""
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["foreign"] = visible
    style = (here / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template(template)
    return page.render(style=Markup(style), style_hash=digest, **values)


def _shown(value: object) -> object:
    """What every expression of the template becomes: nothing that a stranger wrote acts."""
    if isinstance(value, Markup):
        return value
    return figures.NOTHING if value is None else visible(str(value), OWN_CHARACTERS)
