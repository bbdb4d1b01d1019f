"""What an author of plugins does at a prompt, for tests: an environment, commands, installing.

Nothing is asked of the network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.environment import bootstrap

_TRACKFLOW = ("-c", "from trackflow_core.cli import main; main()")


def run(*command: str | Path, folder: Path) -> str:
    """The output of a command, which must succeed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ours = {"UV_OFFLINE": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:odoo"}
    done = subprocess.run(
        command, cwd=folder, env={**kept, **ours}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A fresh virtual environment in `folder` that also has the packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv = folder / "venv"
        run(bootstrap.uv(), "venv", "--quiet", "--python", sys.executable, venv, folder=folder)
        [packages] = venv.glob("lib/python*/site-packages")
        ours = sysconfig.get_path("purelib")
        (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        self.python = venv / "bin" / "python"

    def install(self, project: Path) -> None:
        """`pip install --editable`, without what it needs, which is there."""
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--python", self.python)
        run(bootstrap.uv(), "pip", "install", *options, "--editable", project, folder=project)

    def pytest(self, project: Path) -> str:
        """The output of a project's tests, which must pass."""
        return run(self.python, "-m", "pytest", "-q", folder=project)

    def trackflow(self, *arguments: str) -> str:
        """The output of the command `trackflow`, run in `folder`."""
        return run(self.python, *_TRACKFLOW, *arguments, folder=self.folder)
