"""Secrets Manager: secrets."""

import json

from local.executor.resource import Context, Created, Properties, ResourceType, to_api


class GenerateSecretString(Properties):
    """A password to make, and the JSON object to put it into."""

    secret_string_template: str
    generate_string_key: str
    exclude_characters: str | None = None
    exclude_lowercase: bool | None = None
    exclude_numbers: bool | None = None
    exclude_punctuation: bool | None = None
    exclude_uppercase: bool | None = None
    include_space: bool | None = None
    password_length: int | None = None
    require_each_included_type: bool | None = None


class Secret(Properties):
    """AWS::SecretsManager::Secret with a generated value; none that stands in a template."""

    generate_secret_string: GenerateSecretString
    description: str | None = None
    name: str | None = None


def create_secret(properties: Secret, context: Context) -> Created:
    """Create a secret whose password the backend makes, as CloudFormation lets AWS do."""
    client = context.backend.client("secretsmanager")
    generate = to_api(properties.generate_secret_string)
    value = json.loads(generate.pop("SecretStringTemplate"))
    key = generate.pop("GenerateStringKey")
    value[key] = client.get_random_password(**generate)["RandomPassword"]
    arn = client.create_secret(
        Name=properties.name or context.name(512),
        Description=properties.description or "",
        SecretString=json.dumps(value),
    )["ARN"]
    return Created(arn, {"Id": arn})


RESOURCE_TYPES = (ResourceType("AWS::SecretsManager::Secret", Secret, create_secret),)
