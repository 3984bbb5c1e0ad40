"""What a call of AWS needs to be allowed, and what the roles of the template allow."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from local.backend import ACCOUNT, REGION, Backend
from tests.pipeline.aws_proxy import Call

_S3_ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}


@dataclass(frozen=True)
class Privilege:
    """An IAM action on a resource; a role's may have wildcards."""

    action: str
    resource: str

    def covers(self, needed: "Privilege") -> bool:
        """Whether a role with this may do what is needed."""
        return self.action == needed.action and fnmatchcase(needed.resource, self.resource)


def needed_for(call: Call) -> Iterator[Privilege]:
    """What AWS would ask for before it answers the call."""
    service, name = call.operation.service, call.operation.name
    if service == "s3":
        bucket, _, key = unquote(urlsplit(call.path).path).lstrip("/").partition("/")
        yield Privilege(_S3_ACTIONS[name], f"arn:aws:s3:::{bucket}/{key}")
        if call.status == HTTPStatus.NOT_FOUND:
            # Else S3 says 403 of what is not there.
            yield Privilege("s3:ListBucket", f"arn:aws:s3:::{bucket}")
        return
    body = json.loads(call.body)
    for resource in _resources(service, body):
        yield Privilege(f"{service}:{name.removesuffix('Batch')}", resource)


def _resources(service: str, body: dict[str, Any]) -> Iterator[str]:
    if service == "dynamodb":
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{body['TableName']}{index}"
    elif service == "sqs":
        yield f"arn:aws:sqs:{REGION}:{ACCOUNT}:{body['QueueUrl'].rpartition('/')[2]}"
    elif service == "secretsmanager":
        yield body["SecretId"]
    elif service == "events":
        for entry in body["Entries"]:
            yield f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{entry['EventBusName']}"
    else:
        raise NotImplementedError(f"{service} is called, and nobody knows what that needs")


def granted_to(backend: Backend, function: str) -> set[Privilege]:
    """What the only role of a function allows; `function` stands in the role's name."""
    iam = backend.client("iam")
    (role,) = (
        role["RoleName"]
        for role in iam.list_roles()["Roles"]
        if function in role["RoleName"].lower()
    )
    assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    granted: set[Privilege] = set()
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow"
            granted |= {
                Privilege(action, resource)
                for action in _listed(statement["Action"])
                for resource in _listed(statement["Resource"])
            }
    return granted


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
