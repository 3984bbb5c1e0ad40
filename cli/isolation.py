"""An AWS session that cannot reach a real account by mistake."""

import os

import botocore.session
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES


def isolated_session() -> botocore.session.Session:
    """Return a session that reads neither environment variables nor the files in ~/.aws."""
    blind = {
        name: (setting, None, default, convert)
        for name, (setting, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for file in ("config_file", "credentials_file"):
        blind[file] = (None, None, os.devnull, None)
    return botocore.session.Session(session_vars=blind)
