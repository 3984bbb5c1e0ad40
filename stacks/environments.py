"""The environments of cdk.json: settings that go together, chosen with `-c environment=prod`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from stacks.context import InvalidSettings

_CHOICE = "environment"
_ENVIRONMENTS = "environments"


def with_environment(
    context: Mapping[str, object], *, shared: Mapping[str, object]
) -> dict[str, object]:
    """Lay the context over the settings of the environment that it chooses.

    `context` is all that the app was given, `shared` the context that stands in cdk.json. What
    stands there beside the environments holds for all of them; what else the context has comes
    from `-c`, and counts.

    Raises:
        InvalidSettings: there is no such environment, or cdk.json contradicts itself.
    """
    environments = shared.get(_ENVIRONMENTS, {})
    if not isinstance(environments, Mapping) or not all(
        isinstance(of, Mapping) for of in environments.values()
    ):
        raise InvalidSettings([f"{_ENVIRONMENTS}: must hold an object of settings for each name"])
    own = {key: value for key, value in context.items() if key != _ENVIRONMENTS}
    chosen = own.get(_CHOICE, "")
    mistakes = [*_said_twice(environments, shared), *_shared_workspaces(environments)]
    if chosen != "" and chosen not in environments:
        known = ", ".join(environments) or "there is none in cdk.json"
        mistakes.insert(0, f"{_CHOICE} = {chosen!r}: must be one of {known}")
    if mistakes:
        raise InvalidSettings(mistakes)
    return {**environments.get(chosen, {}), **own}


def _said_twice(
    environments: Mapping[str, Mapping[str, object]], shared: Mapping[str, object]
) -> Iterator[str]:
    for name, settings in environments.items():
        for key in settings.keys() & shared.keys():
            yield f"{key} stands in {_ENVIRONMENTS}.{name} and beside {_ENVIRONMENTS}: keep one"


def _shared_workspaces(environments: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    names = defaultdict(list)
    for name, settings in environments.items():
        names[settings.get("workspace_id")].append(name)
    for workspace, sharing in names.items():
        if workspace is not None and len(sharing) > 1:
            yield (
                f"workspace_id = {workspace!r} in {', '.join(sharing)}: a workspace sends its "
                "webhooks to one URL only, so each environment needs one of its own"
            )
