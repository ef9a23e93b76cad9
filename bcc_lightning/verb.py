"""Commands that are functions from Python, too: ``bcc_lightning.fit("quickstart")`` also where the module has been imported."""

from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A command's module that is called like the function of the same name in `bcc_lightning.api`.

    Once ``bcc_lightning.fit`` is imported, the name stands for the module; ``bcc_lightning.fit("quickstart")`` still works then.
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of any function
        """Call the function; only then all that it may need is loaded."""
        from bcc_lightning import api

        return getattr(api, self.__name__.rpartition(".")[2])(*arguments, **named)
