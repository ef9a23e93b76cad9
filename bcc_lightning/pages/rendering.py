"""Pages as single HTML files: rendered from templates over one base, with a list of contents, written whole or not at all."""

import re
from base64 import b64encode
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, Template
from markupsafe import Markup

from bcc_lightning.files import whole_file
from bcc_lightning.pages import numbers
from bcc_lightning.printable import printable

HERE = "bcc_lightning.pages"

CONTENTS = "<!-- contents -->"
"""Where the base template puts the list of contents."""

SECTION = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)

FEWEST_SECTIONS = 4
"""A page with fewer sections needs no list of contents."""


@cache
def environment_of(package: str) -> Environment:
    """Return the environment of a package's templates, which may extend the base of this one.

    It escapes markup and control characters in all values. Jinja's own choice by suffix would not escape in ``*.html.jinja``.
    """
    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader(HERE, ".")])
    environment = Environment(loader=loader, autoescape=True, finalize=shown, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {
        "number": numbers.number,
        "percent": numbers.percent,
        "interval_of": numbers.interval_of,
        "percent_interval": numbers.percent_interval,
    }
    return environment


def page_template(package: str, name: str) -> Template:
    """Load a template of a package.

    Args:
        package: dotted name of the package.
        name: file name of the template.
    """
    return environment_of(package).get_template(name)


def shown(value: object) -> object:
    """Escape control characters of a text; markup made by a template is kept."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def write_html(target: Path, package: str, name: str, **values: object) -> None:
    """Render a page and write it, whole or not at all.

    Args:
        target: the HTML file.
        package: dotted name of the package of the template.
        name: file name of the template.
        **values: what the template shows.
    """
    page = with_contents(page_template(package, name).render(**values))
    with whole_file(target) as draft:
        draft.write_text(page, encoding="utf-8")


def with_contents(page: str) -> str:
    """Put a list of the sections, which are the headings of the second level with an id, where the base template wants it."""
    sections = SECTION.findall(page)
    if len(sections) < FEWEST_SECTIONS:
        return page.replace(CONTENTS, "")
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>\n' for anchor, title in sections)
    return page.replace(CONTENTS, f'<nav class="contents" aria-label="Contents"><ul>\n{links}</ul></nav>', 1)


def data_uri(picture: Path) -> Markup:
    """Return a PNG file as a URI, which a page holds instead of a link; nothing in it has to be escaped."""
    return png_uri(picture.read_bytes())


def png_uri(content: bytes) -> Markup:
    """Return the content of a PNG file as a URI."""
    return Markup("data:image/png;base64,") + Markup(b64encode(content).decode())  # noqa: S704 - letters and digits
