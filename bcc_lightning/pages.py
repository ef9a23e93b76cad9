"""The templates of pages: whatever a page shows is text, also where a class or a file is called ``<script>``."""

from jinja2 import Environment, PackageLoader, Template
from markupsafe import Markup

from bcc_lightning.printable import printable


def page_template(package: str, name: str) -> Template:
    """Load a template of a package, which escapes markup and control characters in all that it is given.

    Args:
        package: dotted name of the package.
        name: file name of the template. Jinja's own choice by suffix would not escape in ``*.html.jinja``.
    """
    environment = Environment(loader=PackageLoader(package, "."), autoescape=True, finalize=shown)
    return environment.get_template(name)


def shown(value: object) -> object:
    """Make control characters of a text visible; markup that a template made itself stays."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
