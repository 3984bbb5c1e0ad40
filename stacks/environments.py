"""The environments of cdk.json: settings that go together, chosen with `-c environment=prod`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from stacks.context import InvalidSettings
from stacks.settings import DeploymentSettings

_CHOICE = "environment"
_ENVIRONMENTS = "environments"


def with_environment(
    context: Mapping[str, object], *, shared: Mapping[str, object]
) -> dict[str, object]:
    """Merge the context over the settings of the environment that it chooses.

    `context` is all that the app received, `shared` is the context in cdk.json. Settings beside
    the environments in cdk.json apply to all environments. All others in `context` come from `-c`
    and override the environment's.

    Raises:
        InvalidSettings: there is no such environment, cdk.json contradicts itself, or the stacks
            belong to another environment.
    """
    environments = shared.get(_ENVIRONMENTS, {})
    if not isinstance(environments, Mapping) or not all(
        isinstance(of, Mapping) for of in environments.values()
    ):
        raise InvalidSettings([f"{_ENVIRONMENTS}: must hold an object of settings for each name"])
    own = {key: value for key, value in context.items() if key != _ENVIRONMENTS}
    chosen = own.get(_CHOICE, "")
    mistakes = [
        *_said_twice(environments, shared),
        *_shared_workspaces(environments),
        *_shared_prefixes(environments, shared),
    ]
    if chosen != "" and chosen not in environments:
        known = ", ".join(environments) or "there is none in cdk.json"
        mistakes.insert(0, f"{_CHOICE} = {chosen!r}: must be one of {known}")
    if mistakes:
        raise InvalidSettings(mistakes)
    merged = {**environments.get(chosen, {}), **own}
    if taken := list(_taken_prefix(str(chosen), merged, environments, shared)):
        raise InvalidSettings(taken)
    return merged


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


def _shared_prefixes(
    environments: Mapping[str, Mapping[str, object]], shared: Mapping[str, object]
) -> Iterator[str]:
    names = defaultdict(list)
    for name, settings in environments.items():
        names[_prefix({**shared, **settings})].append(name)
    for prefix, sharing in names.items():
        if len(sharing) > 1:
            yield (
                f"stack_prefix = {prefix!r} in {', '.join(sharing)}: the prefix names the stacks, "
                "and each environment would deploy over the other's; give each its own"
            )


def _taken_prefix(
    chosen: str,
    merged: Mapping[str, object],
    environments: Mapping[str, Mapping[str, object]],
    shared: Mapping[str, object],
) -> Iterator[str]:
    """Yield the mistake of a `-c stack_prefix` that belongs to another environment.

    That environment's stacks would get the settings of the chosen one, even its removal policy.
    """
    for name, settings in environments.items():
        if name != chosen and _prefix(merged) == _prefix({**shared, **settings}):
            here = f"environment {chosen}" if chosen else "a deployment without an environment"
            yield (
                f"stack_prefix = {_prefix(merged)!r}: these are the stacks of environment {name}, "
                f"and {here} would deploy its own settings over them; choose {name}, or another "
                "prefix"
            )


def _prefix(settings: Mapping[str, object]) -> object:
    return settings.get("stack_prefix", DeploymentSettings.model_fields["stack_prefix"].default)
