"""What can go wrong with a template.

ExecutionError                 a resource could not be created
└── UnsupportedTemplateError   the template has something that the executor does not know
"""


class ExecutionError(RuntimeError):
    """A resource could not be created; the message names it and says why."""


class UnsupportedTemplateError(ExecutionError):
    """The template has a type, property or intrinsic that the executor does not know.

    Without this error, the part would be deployed and never tested.
    """
