import ast
import hashlib
import io
import json
import marshal
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from stacks import packaging
from stacks.botocore_data import OPERATIONS
from stacks.packaging import PackagingError, function_package, shared_layer, vendor_layer

MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
FUNCTIONS = ("submitter", "webhook", "downloader")

SQS: dict[str, Any] = {
    "version": "2.0",
    "operations": {
        name: {"name": name, "input": {"shape": f"{name}Request"}, "documentation": "<p>Long.</p>"}
        for name in [*sorted(OPERATIONS["sqs"]), "ListQueues"]
    },
    "shapes": {
        **{
            f"{name}Request": {"type": "structure", "members": {}}
            for name in [*OPERATIONS["sqs"], "ListQueues"]
        },
        "SendMessageRequest": {
            "type": "structure",
            "members": {
                "shape": {"shape": "Tree", "documentation": "A member of that name."},
                "documentation": {"shape": "Text"},
            },
        },
        "Tree": {"type": "list", "member": {"shape": "Tree"}},
        "Text": {"type": "string"},
        "Unused": {"type": "string"},
    },
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    function = root / "functions" / "greeter"
    function.mkdir(parents=True)
    (function / "handler.py").write_text("GREETING = 'hello'\n")
    package = root / "layers" / "reportflow" / "reportflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("WORDS = {'one', 'two', 'three'}\n")
    (root / "layers" / "vendor").mkdir()
    return root


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of everything in a package: all that an asset is made from."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def wheel(folder: Path, platform_tag: str, version: str = "1.0") -> Path:
    """A wheel that holds some of botocore's data, a command and the tag it was made for."""
    content = {
        "demo/__init__.py": f"TAG = {platform_tag!r}\n",
        "botocore/data/sqs/2010-01-01/service-2.json": "{}",
        "botocore/data/sqs/2012-11-05/service-2.json": json.dumps(SQS),
        "botocore/data/sqs/2012-11-05/endpoint-rule-set-1.json": "{}",
        "botocore/data/sqs/2012-11-05/paginators-1.json": json.dumps(
            {"pagination": {"ListQueues": {}, "SendMessage": {}}}
        ),
        "botocore/data/sqs/2012-11-05/examples-1.json": "{}",
        "botocore/data/ec2/2016-11-15/service-2.json": "{}",
        "botocore/data/endpoints.json": json.dumps(
            {"partitions": [{"services": {"ec2": {}, "sqs": {}}}]}
        ),
        f"demo-{version}.dist-info/METADATA": f"Name: demo\nVersion: {version}\n",
        f"demo-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
        f"demo-{version}.dist-info/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
    }
    record = f"demo-{version}.dist-info/RECORD"
    content[record] = "".join(f"{name},,\n" for name in [*content, record])
    path = folder / f"demo-{version}-cp313-cp313-{platform_tag}.whl"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    path.write_bytes(packed.getvalue())
    return path


def pin(repository: Path, *wheels: Path) -> None:
    hashes = " ".join(
        f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in wheels
    )
    lock = f"--no-index\n--find-links {wheels[0].parent}\ndemo==1.0 {hashes}\n"
    (repository / "layers" / "vendor" / "requirements.txt").write_text(lock)


def test_a_function_package_holds_the_handler_and_its_bytecode(repository: Path) -> None:
    package = function_package("greeter", repository=repository)
    assert files(package) == {"handler.py", "__pycache__/handler.cpython-313.pyc"}


def test_the_shared_layer_lies_where_lambda_searches(repository: Path) -> None:
    assert "python/reportflow/words.py" in files(shared_layer(repository=repository))


def test_bytecode_is_never_checked_against_the_source(repository: Path) -> None:
    compiled = (
        function_package("greeter", repository=repository)
        / "__pycache__"
        / "handler.cpython-313.pyc"
    ).read_bytes()
    # PEP 552: bit 0 says that a hash stands in place of the source's time, bit 1 that it counts.
    assert int.from_bytes(compiled[4:8], "little") == 0b01


@pytest.mark.parametrize(
    ("package", "module", "there"),
    [
        ("greeter", "__pycache__/handler", "/var/task/handler.py"),
        (None, "python/reportflow/__pycache__/words", "/opt/python/reportflow/words.py"),
    ],
)
def test_tracebacks_name_the_file_as_it_lies_on_lambda(
    repository: Path, package: str | None, module: str, there: str
) -> None:
    folder = (
        function_package(package, repository=repository)
        if package
        else shared_layer(repository=repository)
    )
    code = marshal.loads(  # noqa: S302 - what was compiled a moment ago
        (folder / f"{module}.cpython-313.pyc").read_bytes()[16:]
    )
    assert code.co_filename == there


def test_what_tools_leave_in_the_source_is_left_out(repository: Path) -> None:
    clean = function_package("greeter", repository=repository)
    source = repository / "functions" / "greeter"
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "handler.cpython-312.pyc").write_bytes(b"old")
    (source / ".DS_Store").write_bytes(b"")
    assert function_package("greeter", repository=repository) == clean


def test_a_package_is_built_once(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = function_package("greeter", repository=repository)
    assert "Building the greeter package" in capsys.readouterr().err
    assert function_package("greeter", repository=repository) == first
    assert capsys.readouterr().err == ""


def test_changed_code_is_another_package(repository: Path) -> None:
    first = function_package("greeter", repository=repository)
    (repository / "functions" / "greeter" / "handler.py").write_text("GREETING = 'good bye'\n")
    second = function_package("greeter", repository=repository)
    assert first != second
    assert "good bye" in (second / "handler.py").read_text()


def test_a_renamed_file_is_another_package(repository: Path) -> None:
    first = shared_layer(repository=repository)
    package = repository / "layers" / "reportflow" / "reportflow"
    (package / "words.py").rename(package / "names.py")
    assert shared_layer(repository=repository) != first


def test_times_modes_and_umask_do_not_count(repository: Path, tmp_path: Path) -> None:
    first = shared_layer(repository=repository)
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(".build"))
    for file in copy.rglob("*.py"):
        os.utime(file, (0, 0))
        file.chmod(0o700)
    umask = os.umask(0o077)
    try:
        second = shared_layer(repository=copy)
    finally:
        os.umask(umask)
    assert second.name == first.name
    assert fingerprint(second) == fingerprint(first)


def test_a_function_without_a_handler_is_reported(repository: Path) -> None:
    with pytest.raises(PackagingError, match=r"nobody holds no handler\.py"):
        function_package("nobody", repository=repository)


def test_code_that_does_not_compile_leaves_no_package(repository: Path) -> None:
    handler = repository / "functions" / "greeter" / "handler.py"
    handler.write_text("def :\n")
    with pytest.raises(
        PackagingError, match=r"(?s)does not compile.*/var/task/handler\.py.*line 1"
    ):
        function_package("greeter", repository=repository)
    assert files(repository / ".build") == set()


def build_in_process(repository: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys; from pathlib import Path; from stacks.packaging import shared_layer;"
        "print(shared_layer(repository=Path(sys.argv[1])))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(repository)],
        cwd=packaging.REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def slow_repository(repository: Path) -> Path:
    """Its shared layer takes a while to compile."""
    package = repository / "layers" / "reportflow" / "reportflow"
    lines = "".join(f"def f{number}(a, b): return [a + {number}, b]\n" for number in range(500))
    for number in range(40):
        (package / f"module{number}.py").write_text(lines)
    return repository


def test_builds_at_the_same_time_agree(slow_repository: Path) -> None:
    builds = [build_in_process(slow_repository) for _ in range(3)]
    answers = [build.communicate() for build in builds]
    assert [build.returncode for build in builds] == [0, 0, 0], answers
    (package,) = {Path(out.decode().strip()) for out, _ in answers}
    assert sum(b"Building" in told for _, told in answers) > 1, "the builds did not overlap"
    assert [entry.name for entry in package.parent.iterdir()] == [package.name]


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_package(slow_repository: Path) -> None:
    build = build_in_process(slow_repository)
    deadline = time.monotonic() + 120
    while not list(slow_repository.glob(".build/*/*/python/reportflow/module*.py")):
        assert time.monotonic() < deadline
        assert build.poll() is None
    build.send_signal(signal.SIGKILL)
    build.communicate()
    assert list(slow_repository.glob(".build/shared-layer-*")) == []
    package = shared_layer(repository=slow_repository)
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) == len(list(package.rglob("*.py")))


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_wheels_are_those_that_lambda_loads(
    repository: Path, tmp_path: Path, architecture: str, machine: str
) -> None:
    wheels = [
        wheel(tmp_path, f"manylinux_2_{glibc}_{of}")
        for glibc in (17, 28, 35)
        for of in ("aarch64", "x86_64")
    ]
    pin(repository, *wheels)
    layer = vendor_layer(architecture, repository=repository)
    installed = (layer / "python" / "demo" / "__init__.py").read_text()
    assert installed == f"TAG = 'manylinux_2_28_{machine}'\n"


def test_the_vendor_layer_keeps_what_runs_and_drops_the_rest(
    repository: Path, tmp_path: Path
) -> None:
    pin(repository, wheel(tmp_path, "manylinux2014_aarch64"))
    assert files(vendor_layer("arm64", repository=repository) / "python") == {
        "botocore/data/endpoints.json",
        "botocore/data/sqs/2012-11-05/endpoint-rule-set-1.json",
        "botocore/data/sqs/2012-11-05/service-2.json",
        "demo/__init__.py",
        "demo/__pycache__/__init__.cpython-313.pyc",
        "demo-1.0.dist-info/METADATA",
        "demo-1.0.dist-info/WHEEL",
        "demo-1.0.dist-info/entry_points.txt",
    }


def test_botocore_describes_the_operations_in_use_and_what_they_lead_to(
    repository: Path, tmp_path: Path
) -> None:
    pin(repository, wheel(tmp_path, "manylinux2014_aarch64"))
    data = vendor_layer("arm64", repository=repository) / "python" / "botocore" / "data"

    model = json.loads((data / "sqs" / "2012-11-05" / "service-2.json").read_text())
    assert model["operations"].keys() == OPERATIONS["sqs"]
    assert model["operations"]["SendMessage"] == {
        "name": "SendMessage",
        "input": {"shape": "SendMessageRequest"},
        "documentation": "",
    }
    requests = {f"{name}Request" for name in OPERATIONS["sqs"]}
    assert model["shapes"].keys() == {*requests, "Tree", "Text"}
    assert model["shapes"]["SendMessageRequest"]["members"] == {
        "shape": {"shape": "Tree", "documentation": ""},
        "documentation": {"shape": "Text"},
    }
    endpoints = json.loads((data / "endpoints.json").read_text())
    assert endpoints == {"partitions": [{"services": {"sqs": {}}}]}


def test_a_wheel_with_another_hash_is_refused(repository: Path, tmp_path: Path) -> None:
    made = wheel(tmp_path, "manylinux2014_aarch64")
    pin(repository, made)
    made.write_bytes(made.read_bytes() + b"x")
    with pytest.raises(
        PackagingError, match=r"(?s)cannot install the arm64 wheels.*sha256.*make lock"
    ):
        vendor_layer("arm64", repository=repository)
    assert files(repository / ".build") == set()


def test_a_lock_without_hashes_is_refused(repository: Path, tmp_path: Path) -> None:
    made = wheel(tmp_path, "manylinux2014_aarch64")
    lock = repository / "layers" / "vendor" / "requirements.txt"
    lock.write_text(f"--no-index\n--find-links {made.parent}\ndemo==1.0\n")
    with pytest.raises(PackagingError, match="hash"):
        vendor_layer("arm64", repository=repository)


@pytest.fixture(scope="module")
def native_vendor_layer() -> Path:
    return vendor_layer(MACHINES[platform.machine()])


def run_isolated(path: list[Path], program: str) -> str:
    """Run Python with nothing on its path but the standard library and `path`."""
    search = os.pathsep.join(str(folder) for folder in path)
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-B", "-c"),
            f"import os, sys; sys.path[:0] = {search!r}.split(os.pathsep)\n{program}",
        ],
        env={
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_layers_hold_all_that_the_clients_need(native_vendor_layer: Path) -> None:
    path = [shared_layer() / "python", native_vendor_layer / "python"]
    told = run_isolated(
        path,
        "import json; from reportflow import aws\n"
        "clients = [aws.dynamodb(), aws.events(), aws.s3(), aws.secretsmanager(), aws.sqs()]\n"
        "models = [client.meta.service_model for client in clients]\n"
        "print(json.dumps({model.service_name: model.operation_names for model in models}))",
    )
    assert {name: set(operations) for name, operations in json.loads(told).items()} == OPERATIONS


def code() -> Iterator[ast.AST]:
    """Each node of the functions' code."""
    for folder in ("functions", "layers/reportflow"):
        for file in (packaging.REPOSITORY / folder).rglob("*.py"):
            yield from ast.walk(ast.parse(file.read_text()))


def called_operations() -> set[tuple[str, str]]:
    """Service and operation of all that the functions' code calls, found by the names of methods.

    No operation's name is used for anything else there.
    """
    session = botocore.session.Session()
    methods = {
        xform_name(operation): (service, operation)
        for service in OPERATIONS
        for operation in session.get_service_model(service).operation_names
    }
    named = {node.attr for node in code() if isinstance(node, ast.Attribute)}
    return {methods[name] for name in named & methods.keys()}


def test_the_operations_that_ship_are_those_that_are_called() -> None:
    of_botocore = {("s3", "HeadBucket")}
    shipped = {(service, name) for service, names in OPERATIONS.items() for name in names}
    assert called_operations() | of_botocore == shipped


CALLS: dict[str, dict[str, dict[str, Any]]] = {
    "dynamodb": {
        "get_item": {"TableName": "t", "Key": {"jobId": {"S": "1"}}, "ConsistentRead": True},
        "query": {"TableName": "t", "IndexName": "byStatus", "KeyConditionExpression": "a = :a"},
        "update_item": {
            "TableName": "t",
            "Key": {"jobId": {"S": "1"}},
            "ExpressionAttributeValues": {":a": {"M": {"b": {"L": [{"N": "1"}, {"NULL": True}]}}}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    },
    "events": {"put_events": {"Entries": [{"Source": "s", "Detail": "{}", "DetailType": "d"}]}},
    "s3": {
        "get_object": {"Bucket": "b", "Key": "k/é"},
        "head_bucket": {"Bucket": "b"},
        "head_object": {"Bucket": "b", "Key": "k", "ChecksumMode": "ENABLED"},
        "put_object": {
            "Bucket": "b",
            "Key": "k",
            "Body": "text",
            "IfNoneMatch": "*",
            "ContentDisposition": "inline",
            "Metadata": {"request": "1"},
        },
    },
    "secretsmanager": {"get_secret_value": {"SecretId": "s"}},
    "sqs": {
        "change_message_visibility": {
            "QueueUrl": "https://q/1/q",
            "ReceiptHandle": "r",
            "VisibilityTimeout": 1,
        },
        "get_queue_attributes": {"QueueUrl": "https://q/1/q", "AttributeNames": ["All"]},
        "send_message": {
            "QueueUrl": "https://q/1/q",
            "MessageBody": "m",
            "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}},
        },
        "send_message_batch": {
            "QueueUrl": "https://q/1/q",
            "Entries": [{"Id": "1", "MessageBody": "m"}],
        },
    },
}


def requests_made(path: list[Path]) -> list[Any]:
    """The requests that each of these calls makes, with the botocore that lies there."""
    return [
        json.loads(line)
        for line in run_isolated(
            path,
            "import io, json; from botocore.awsrequest import AWSResponse\n"
            "from botocore.config import Config; from botocore.session import Session\n"
            "VARYING = 'Authorization', 'User-Agent', 'X-Amz-Date', 'amz-sdk-invocation-id'\n"
            "class Raw(io.BytesIO):\n"
            "    def stream(self, **_): yield self.read()\n"
            "def sent(request, **_):\n"
            "    headers = {name: str(request.headers[name]) for name in sorted(request.headers)\n"
            "        if name not in VARYING}\n"
            "    body = request.body.read() if hasattr(request.body, 'read') else request.body\n"
            "    print(json.dumps([request.method, request.url, str(body), headers]))\n"
            "    answer = b'{}' if 'X-Amz-Target' in request.headers else b''\n"
            "    return AWSResponse(request.url, 200, {}, Raw(answer))\n"
            f"for service, calls in {CALLS!r}.items():\n"
            "    client = Session().create_client(service)\n"
            "    client.meta.events.register('before-send', sent)\n"
            "    for method, parameters in calls.items(): getattr(client, method)(**parameters)\n",
        ).splitlines()
    ]


def test_the_trimmed_data_make_the_same_requests(native_vendor_layer: Path) -> None:
    called = {
        (service, name)
        for service, names in OPERATIONS.items()
        for name in names
        if xform_name(name) in CALLS[service]
    }
    assert len(called) == sum(map(len, OPERATIONS.values()))
    installed = Path(botocore.session.__file__).parents[1]

    made = requests_made([native_vendor_layer / "python"])

    assert len(made) == len(called)
    assert made == requests_made([installed])


@pytest.mark.parametrize("method", ["get_paginator", "get_waiter"])
def test_no_paginator_or_waiter_is_used_as_none_ships(method: str) -> None:
    assert method not in {node.attr for node in code() if isinstance(node, ast.Attribute)}


def test_botocores_data_stays_small(native_vendor_layer: Path) -> None:
    data = native_vendor_layer / "python" / "botocore" / "data"
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    assert size < 160_000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_from_its_package_and_layers_without_compiling(
    native_vendor_layer: Path, name: str
) -> None:
    path = [function_package(name), shared_layer() / "python", native_vendor_layer / "python"]
    told = run_isolated(
        path,
        "import importlib.machinery\n"
        "class Compiled(BaseException): pass\n"
        "def compile_source(self, data, path, **_): raise Compiled(path)\n"
        "importlib.machinery.SourceFileLoader.source_to_code = compile_source\n"
        "import handler\n"
        "print(callable(handler.handler))",
    )
    # Before that, it says that it has no environment.
    assert told.splitlines()[-1] == "True"


@pytest.mark.parametrize(
    ("name", "spared"),
    [
        ("submitter", {"reportflow.archiving"}),
        ("webhook", {"reportflow.http_session", "reportflow.jobs"}),
        ("downloader", {"reportflow.submission"}),
    ],
)
def test_a_cold_start_imports_nothing_that_it_does_not_use(
    native_vendor_layer: Path, name: str, spared: set[str]
) -> None:
    path = [function_package(name), shared_layer() / "python", native_vendor_layer / "python"]
    told = run_isolated(path, "import handler\nprint(*sys.modules)")
    assert not spared & set(told.splitlines()[-1].split())


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Iterator[Path]:
    lock = tmp_path / "layers" / "vendor" / "requirements.txt"
    lock.parent.mkdir(parents=True)
    shutil.copyfile(packaging.REPOSITORY / lock.relative_to(tmp_path), lock)
    yield tmp_path
    shutil.rmtree(tmp_path / ".build")


def test_the_same_lock_file_makes_the_same_layer(
    fresh_clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(vendor_layer("arm64"))
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    assert fingerprint(vendor_layer("arm64", repository=fresh_clone)) == first
