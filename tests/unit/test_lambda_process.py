import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.backend import ACCOUNT, REGION, Backend, BackendKind
from local.deployment import Function
from local.function_pool import FunctionPool
from local.lambda_process import FailureKind, InvocationFailed
from local.packages import install_runtime_client
from local.paths import BUILD_CACHE
from local.runtime_api import MAX_PAYLOAD_BYTES
from tests.unit.small_functions import make_function, make_layer, wait_until

BACKEND = Backend(BackendKind.MOTO, "http://127.0.0.1:9")

# Does as the event says, so that one function serves many tests.
OBEDIENT = """
    import os, sys, time
    from pathlib import Path

    def handler(event, context):
        if "mark" in event:
            Path(event["mark"], str(os.getpid())).touch()
        if "sleep" in event:
            time.sleep(event["sleep"])
        if "raise" in event:
            raise ValueError(event["raise"])
        if "exit" in event:
            os._exit(event["exit"])
        if "import" in event:
            try:
                __import__(event["import"])
            except ImportError as error:
                return str(error)
        if "length" in event:
            return "x" * event["length"]
        return {
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "path": sys.path,
            "folder": os.getcwd(),
            "arn": context.invoked_function_arn,
            "request_id": context.aws_request_id,
            "remaining_ms": context.get_remaining_time_in_millis(),
        }
"""

type OpenPool = Callable[..., FunctionPool]


@pytest.fixture
def open_pool(tmp_path: Path) -> Iterator[OpenPool]:
    pools = []

    def open_one(function: Function, max_processes: int = 4) -> FunctionPool:
        pools.append(
            FunctionPool(function, BACKEND, work_dir=tmp_path / "logs", max_processes=max_processes)
        )
        return pools[-1]

    yield open_one
    for pool in pools:
        pool.close()


@pytest.fixture
def pool(tmp_path: Path, open_pool: OpenPool) -> FunctionPool:
    return open_pool(make_function(tmp_path, OBEDIENT, environment={"OWN": "value"}))


def invoke(pool: FunctionPool, **event: object) -> Any:
    return json.loads(pool.invoke(json.dumps(event).encode()))


def failure(pool: FunctionPool, **event: object) -> InvocationFailed:
    with pytest.raises(InvocationFailed) as raised:
        invoke(pool, **event)
    return raised.value


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_only_the_package_and_the_standard_library_can_be_imported(pool: FunctionPool) -> None:
    package, runtime_client, *others = (Path(folder) for folder in invoke(pool)["path"])

    assert package == BUILD_CACHE / "run" / pool.function.code.name
    assert runtime_client == install_runtime_client()
    assert all(folder.is_relative_to(sys.base_prefix) for folder in others)
    assert not any("site-packages" in folder.parts for folder in others)
    for installed_here in ("pytest", "boto3", "local", "stacks"):
        assert installed_here in invoke(pool, **{"import": installed_here})


def test_environment_is_lambdas_and_the_templates_and_the_backends(
    pool: FunctionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", "secret")

    seen = invoke(pool)["environment"]

    ours = {name for name in seen if not name.startswith(("AWS_", "LAMBDA_", "_"))}
    assert ours == {"OWN", "LANG", "PATH", "TZ", "HOME"}
    assert seen["OWN"] == "value"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == pool.function.name
    # On AWS, too, each function signs with a key of its own.
    own_key = {"AWS_ACCESS_KEY_ID": pool.function.name}
    assert seen.items() >= {**BACKEND.environment, **own_key}.items()


def test_invocations_that_begin_after_a_change_of_variables_see_it(
    pool: FunctionPool, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with ThreadPoolExecutor() as threads:
        at_work = threads.submit(invoke, pool, mark=str(marks), sleep=1)
        wait_until(lambda: list(marks.iterdir()))
        idle = invoke(pool)
        pool.configure({"OWN": "new", "MORE": "1"})
        after = invoke(pool)
        before = at_work.result()

    assert [seen["environment"]["OWN"] for seen in (before, idle, after)] == [
        "value",
        "value",
        "new",
    ]
    assert after["environment"]["MORE"] == "1"
    assert invoke(pool)["pid"] == after["pid"]
    assert pool.pids() == (after["pid"],)


def test_runs_from_a_copy_and_leaves_the_assembly_as_it_was(
    pool: FunctionPool, tmp_path: Path
) -> None:
    seen = invoke(pool)

    assert [path.name for path in pool.function.code.rglob("*")] == ["handler.py"]
    assert seen["folder"] == seen["environment"]["LAMBDA_TASK_ROOT"] == seen["path"][0]
    assert not Path(seen["folder"]).is_relative_to(tmp_path)
    assert not list(Path(seen["folder"]).rglob("*.pyc"))


def test_package_hides_layers_and_later_layers_hide_earlier_ones(
    tmp_path: Path, open_pool: OpenPool
) -> None:
    first = make_layer(tmp_path, {"both.py": "origin = 'first'", "only.py": "origin = 'first'"})
    second = make_layer(tmp_path, {"both.py": "origin = 'second'", "handler.py": "no handler here"})
    function = make_function(
        tmp_path,
        """
        import both, only

        def handler(event, context):
            return [both.origin, only.origin]
        """,
        layers=(first, second),
    )

    assert invoke(open_pool(function)) == ["second", "first"]


def test_missing_import_fails_at_once_and_is_named(tmp_path: Path, open_pool: OpenPool) -> None:
    pool = open_pool(make_function(tmp_path, "import not_in_the_package\n"))

    with pytest.raises(InvocationFailed, match="not_in_the_package") as warming:
        pool.warm_up()

    assert warming.value.kind == FailureKind.INIT
    assert failure(pool).kind == FailureKind.INIT
    assert pool.pids() == ()
    assert "not_in_the_package" in pool.log_path.read_text()


def test_process_that_ends_during_init_fails_the_invocation(
    tmp_path: Path, open_pool: OpenPool
) -> None:
    pool = open_pool(make_function(tmp_path, "import os\nos._exit(7)\n"))

    failed = failure(pool)

    assert failed.kind == FailureKind.INIT
    assert "status 7" in failed.message


def test_context_describes_the_invocation(pool: FunctionPool) -> None:
    first, second = invoke(pool), invoke(pool)

    assert first["request_id"] != second["request_id"]
    assert first["arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{pool.function.name}"
    limit = pool.function.timeout_seconds * 1000
    assert limit - 5000 < first["remaining_ms"] <= limit


def test_error_of_the_handler_fails_the_invocation_and_keeps_the_process(
    pool: FunctionPool,
) -> None:
    process = invoke(pool)["pid"]

    failed = failure(pool, **{"raise": "no such thing"})

    assert failed.kind == FailureKind.HANDLER
    assert failed.message == "ValueError: no such thing"
    assert invoke(pool)["pid"] == process


def test_timeout_ends_the_process(tmp_path: Path, open_pool: OpenPool) -> None:
    pool = open_pool(make_function(tmp_path, OBEDIENT, timeout_seconds=1))
    process = invoke(pool)["pid"]

    started = time.monotonic()
    failed = failure(pool, sleep=30)

    assert 1 <= time.monotonic() - started < 30
    assert failed.kind == FailureKind.TIMEOUT
    assert "Task timed out after 1.00 seconds" in failed.message
    assert not is_running(process)
    assert invoke(pool)["pid"] != process


def test_exit_in_mid_invocation_fails_it(pool: FunctionPool) -> None:
    failed = failure(pool, exit=3)

    assert failed.kind == FailureKind.EXIT
    assert "status 3" in failed.message


def test_kill_in_mid_invocation_fails_it_at_once(pool: FunctionPool, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        invocation = threads.submit(failure, pool, mark=str(tmp_path), sleep=300)
        (process,) = wait_until(
            lambda: [pid for pid in pool.pids() if (tmp_path / str(pid)).exists()]
        )
        os.kill(process, signal.SIGKILL)
        failed = invocation.result(60)

    assert failed.kind == FailureKind.EXIT
    assert invoke(pool)["pid"] != process


def test_kill_while_idle_is_not_noticed(pool: FunctionPool) -> None:
    for _ in range(20):
        process = invoke(pool)["pid"]
        os.kill(process, signal.SIGKILL)

        assert invoke(pool)["pid"] != process


def test_kill_before_the_event_was_read_is_not_noticed(pool: FunctionPool) -> None:
    pool.warm_up()
    (process,) = pool.pids()
    os.kill(process, signal.SIGSTOP)
    os.waitid(os.P_PID, process, os.WSTOPPED)
    with ThreadPoolExecutor() as threads:
        invocation = threads.submit(invoke, pool)
        with pytest.raises(TimeoutError):
            invocation.result(0.3)
        os.kill(process, signal.SIGKILL)

        assert invocation.result(60)["pid"] != process


def test_payloads_above_lambdas_limit_are_refused(pool: FunctionPool) -> None:
    longest = MAX_PAYLOAD_BYTES - len('""')

    assert len(invoke(pool, length=longest)) == longest
    assert failure(pool, length=longest + 1).kind == FailureKind.PAYLOAD
    assert failure(pool, padding="x" * MAX_PAYLOAD_BYTES).kind == FailureKind.PAYLOAD
    assert invoke(pool, padding="x" * (MAX_PAYLOAD_BYTES - 100))["pid"]


def test_invocations_at_the_same_time_have_a_process_each(pool: FunctionPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: invoke(pool, sleep=1), range(4)))

    assert len({answer["pid"] for answer in answers}) == 4
    assert {answer["pid"] for answer in answers} == set(pool.pids())


def test_invocations_above_the_limit_wait_for_a_free_process(
    tmp_path: Path, open_pool: OpenPool
) -> None:
    pool = open_pool(make_function(tmp_path, OBEDIENT), max_processes=2)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: invoke(pool, sleep=0.05), range(8)))

    assert len(answers) == 8
    assert len({answer["pid"] for answer in answers}) <= 2


def test_output_goes_to_the_log_in_any_language(tmp_path: Path, open_pool: OpenPool) -> None:
    pool = open_pool(make_function(tmp_path, "print('請求書')\ndef handler(e, c): print('発行')\n"))

    invoke(pool)

    assert pool.log_path.read_text() == "請求書\n発行\n"


def test_people_find_a_process_by_the_functions_name(tmp_path: Path, open_pool: OpenPool) -> None:
    pool = open_pool(make_function(tmp_path, OBEDIENT, name="Pipeline-Submitter"))
    process = invoke(pool)["pid"]

    found = subprocess.check_output(["/usr/bin/pgrep", "-f", "Pipeline-Submitter$"], text=True)

    assert str(process) in found.split()


def test_close_ends_everything(pool: FunctionPool) -> None:
    idle = invoke(pool)["pid"]
    with ThreadPoolExecutor() as threads:
        running = threads.submit(failure, pool, sleep=300)
        second = threads.submit(failure, pool, sleep=300)
        wait_until(lambda: len(pool.pids()) == 2)
        pool.close()

        assert {running.result(60).kind, second.result(60).kind} <= {
            FailureKind.EXIT,
            FailureKind.INIT,
        }
    assert pool.pids() == ()
    assert not is_running(idle)
    assert failure(pool).kind == FailureKind.EXIT
