"""Creates a cloud assembly's resources in an emulated AWS, and refuses what it does not know.

execution   plans all stacks, then creates them: `deploy`
template    a stack's resources in dependency order, each checked against its type
intrinsics  Ref, Fn::GetAtt and their like
resource    what a resource type is
services, storage, cloudwatch, functions, http_api    the resource types
parts       functions, event sources and routes: what the runner runs instead of the backend
"""

from local.executor.errors import ExecutionError, UnsupportedTemplateError
from local.executor.execution import deploy

__all__ = ["ExecutionError", "UnsupportedTemplateError", "deploy"]
