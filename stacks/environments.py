"""Reads the environments of cdk.json: sets of settings to choose with `-c environment=prod`."""

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

    `context` is all that the app received, and `shared` is the context in cdk.json. Settings beside
    the environments in cdk.json apply to every environment. All other settings in `context` come
    from `-c` and override those of the environment.

    Raises:
        InvalidSettings: the environment does not exist, cdk.json contradicts itself, or the stacks
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
        *_set_twice(environments, shared),
        *_shared_workspaces(environments),
        *_shared_prefixes(environments, shared),
    ]
    if chosen != "" and chosen not in environments:
        known = f"must be one of {', '.join(environments)}" if environments else "cdk.json has none"
        mistakes.insert(0, f"{_CHOICE} = {chosen!r}: {known}")
    if mistakes:
        raise InvalidSettings(mistakes)
    merged = {**environments.get(chosen, {}), **own}
    if taken := list(_taken_prefix(str(chosen), merged, environments, shared)):
        raise InvalidSettings(taken)
    return merged


def paths(context: Mapping[str, object], *, shared: Mapping[str, object]) -> dict[str, str]:
    """Return where cdk.json has each setting that comes from the chosen environment."""
    chosen = context.get(_CHOICE)
    environments = shared.get(_ENVIRONMENTS)
    own = environments.get(chosen, {}) if isinstance(environments, Mapping) else {}
    return {key: f"{_ENVIRONMENTS}.{chosen}.{key}" for key in own if key not in context}


def _set_twice(
    environments: Mapping[str, Mapping[str, object]], shared: Mapping[str, object]
) -> Iterator[str]:
    for name, settings in environments.items():
        for key in settings.keys() & shared.keys():
            yield f"{key} is set in {_ENVIRONMENTS}.{name} and beside {_ENVIRONMENTS}: keep one"


def _shared_workspaces(environments: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    names = defaultdict(list)
    for name, settings in environments.items():
        names[settings.get("workspace_id")].append(name)
    for workspace, sharing in names.items():
        if workspace is not None and len(sharing) > 1:
            yield (
                f"workspace_id = {workspace!r} in {', '.join(sharing)}: a workspace sends its "
                "webhooks to one URL only; give each environment its own workspace"
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
                f"stack_prefix = {prefix!r} in {', '.join(sharing)}: the environments would "
                "overwrite each other's stacks; give each environment its own prefix"
            )


def _taken_prefix(
    chosen: str,
    merged: Mapping[str, object],
    environments: Mapping[str, Mapping[str, object]],
    shared: Mapping[str, object],
) -> Iterator[str]:
    """Yield a mistake if `-c stack_prefix` names another environment's stacks.

    That environment's stacks would get the settings of the chosen one, even its removal policy.
    """
    for name, settings in environments.items():
        if name != chosen and _prefix(merged) == _prefix({**shared, **settings}):
            here = f"environment {chosen}" if chosen else "a deployment without an environment"
            yield (
                f"stack_prefix = {_prefix(merged)!r}: these are the stacks of environment {name}, "
                f"and {here} would overwrite their settings; choose {name}, or another prefix"
            )


def _prefix(settings: Mapping[str, object]) -> object:
    return settings.get("stack_prefix", DeploymentSettings.model_fields["stack_prefix"].default)
