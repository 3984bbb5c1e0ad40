import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from stacks.packaging import REPOSITORY
from tests.stacks.synthesis import run_app, synthesize

ELF_AARCH64 = b"\xb7\x00"


def digests(assembly: Path) -> dict[str, str]:
    """All that is deployed: CDK's notes on where a construct came from name temporary folders."""
    return {
        file.relative_to(assembly).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in assembly.rglob("*")
        if file.is_file() and not file.name.endswith(".metadata.json")
    }


def assets(assembly: Path) -> list[Path]:
    return [folder for folder in assembly.glob("asset.*") if folder.is_dir()]


def test_a_second_synthesis_makes_the_same_bytes(cloud_assembly: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path / "again", PYTHONHASHSEED="1")
    assert digests(again) == digests(cloud_assembly)


def test_the_templates_pass_cfn_lint(cloud_assembly: Path, changed_assembly: Path) -> None:
    templates = [
        str(template)
        for assembly in (cloud_assembly, changed_assembly)
        for template in assembly.glob("*.template.json")
    ]
    assert templates
    # W3005: CDK itself writes DependsOn beside the reference of a function to its role.
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *templates],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_what_is_uploaded_is_compiled_and_for_arm64(cloud_assembly: Path) -> None:
    for asset in assets(cloud_assembly):
        sources = list(asset.rglob("*.py"))
        assert sources
        for source in sources:
            compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
            assert compiled.is_file(), f"{compiled} is missing"
    extensions = [file for asset in assets(cloud_assembly) for file in asset.rglob("*.so")]
    assert extensions
    assert {file.read_bytes()[18:20] for file in extensions} == {ELF_AARCH64}


def test_mistakes_in_the_settings_are_reported_at_once_and_without_a_trace(tmp_path: Path) -> None:
    done = run_app(
        tmp_path / "cdk.out",
        {"workspace_id": "-", "webhook_timeout_seconds": "soon", "payload_bucket": "a-bucket"},
    )
    assert done.returncode == 1
    assert "3 mistakes" in done.stderr
    assert "workspace_id = '-': must be" in done.stderr
    assert "webhook_timeout_seconds = 'soon'" in done.stderr
    assert "did you mean payload_buckets?" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_of_the_command_line_override_the_environments(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "app.py",
            *["-c", "environment=prod", "-c", "log_level=LOUD", "-c", "x=1"],
        ],
        cwd=REPOSITORY,
        env={**os.environ, "CDK_OUTDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    count, *mistakes = done.stderr.splitlines()
    assert "2 mistakes" in count
    assert [mistake.split(": ")[0].strip() for mistake in mistakes] == [
        "log_level = 'LOUD'",
        "x = '1'",
    ]


def test_make_passes_its_arguments_on() -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run(
        [make, "--dry-run", "synth", "ENV=prod", "ARGS=-c log_level=INFO"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "app.py -c environment=prod -c log_level=INFO" in done.stdout


def test_an_environment_in_lower_case_is_refused_and_not_passed_over() -> None:
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run(
        [make, "--dry-run", "synth", "env=prod"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ENV=prod" in done.stderr


def test_a_missing_node_is_reported_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        # Without site-packages there is no node from a wheel.
        [sys.executable, "-S", "app.py"],
        cwd=REPOSITORY,
        env={"PATH": "", "CDK_OUTDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "JSII_NODE" in done.stderr
