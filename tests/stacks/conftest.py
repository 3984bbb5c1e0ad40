from pathlib import Path

import pytest

from tests.stacks.synthesis import CHANGED, synthesize
from tests.stacks.template import Template


@pytest.fixture(scope="session")
def cloud_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python app.py` makes of the settings' defaults."""
    return synthesize(tmp_path_factory.mktemp("synthesis") / "cdk.out")


@pytest.fixture(scope="session")
def storage(cloud_assembly: Path) -> Template:
    return Template.read(cloud_assembly / "ReportFlow-Storage.template.json")


@pytest.fixture(scope="session")
def pipeline(cloud_assembly: Path) -> Template:
    return Template.read(cloud_assembly / "ReportFlow-Pipeline.template.json")


@pytest.fixture(scope="session")
def changed_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same app with every setting changed."""
    return synthesize(tmp_path_factory.mktemp("changed") / "cdk.out", CHANGED)


@pytest.fixture(scope="session")
def changed_storage(changed_assembly: Path) -> Template:
    return Template.read(changed_assembly / "Invoices-Storage.template.json")


@pytest.fixture(scope="session")
def changed_pipeline(changed_assembly: Path) -> Template:
    return Template.read(changed_assembly / "Invoices-Pipeline.template.json")
