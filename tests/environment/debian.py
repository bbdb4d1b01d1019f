"""Take packages out of Debian's archive without installing them.

A private apt configuration: own source list, lists, cache and state, nothing of the system is
changed and no root is needed, while apt checks Debian's signatures as it always does. The
mirror and any proxy are the machine's own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.environment import cache
from tests.environment.failure import SetupError
from tests.environment.progress import environment, run_logged

_APT = Path("/etc/apt")
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/etc/apt/trusted.gpg.d/debian-archive-keyring.gpg"),
)
RELEASES = frozenset(
    ("stable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie", "forky", "duke")
)


@dataclass(frozen=True)
class AptSource:
    """One source of packages in this machine's apt configuration."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def sources_of_list(text: str) -> list[AptSource]:
    """The binary package sources of a one-line-per-source file (`sources.list`)."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)([^#]*)", line)
        if match:
            uri, suite, components = match.groups()
            found.append(AptSource(uri, (suite,), tuple(components.split())))
    return found


def sources_of_deb822(text: str) -> list[AptSource]:
    """The binary package sources of a deb822 file (`*.sources`), without disabled stanzas."""
    found: list[AptSource] = []
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
        if enabled and "deb" in fields.get("types", "").split():
            suites = tuple(fields.get("suites", "").split())
            components = tuple(fields.get("components", "").split())
            found.extend(
                AptSource(uri, suites, components) for uri in fields.get("uris", "").split()
            )
    return found


def mirror_among(sources: Iterable[AptSource]) -> str | None:
    """Debian's main archive: by the path that mirrors keep, else by the release it serves."""
    candidates = [source for source in sources if "main" in source.components]
    for source in candidates:
        if source.uri.rstrip("/").endswith("/debian"):
            return source.uri.rstrip("/")
    for source in candidates:
        if RELEASES.intersection(source.suites):
            return source.uri.rstrip("/")
    return None


def mirror() -> str:
    """The Debian mirror to use: `TRACKFLOW_DEBIAN_MIRROR`, or the one this machine uses."""
    chosen = os.environ.get("TRACKFLOW_DEBIAN_MIRROR")
    if chosen:
        return chosen.rstrip("/")
    sources: list[AptSource] = []
    parts = _APT / "sources.list.d"
    for path in [_APT / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            sources += sources_of_list(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        sources += sources_of_deb822(path.read_text(encoding="utf-8", errors="replace"))
    found = mirror_among(sources)
    if found is None:
        raise SetupError(
            "this machine's apt sources name no Debian archive: "
            "set TRACKFLOW_DEBIAN_MIRROR to a Debian mirror, "
            "or ODOO_SRC=<checkout of Odoo 19> to an Odoo that you already have"
        )
    return found


def keyring() -> Path:
    for path in _KEYRINGS:
        if path.is_file():
            return path
    raise SetupError(
        "Debian's keyring is not on this machine, so its packages cannot be verified: "
        "install debian-archive-keyring, "
        "or set ODOO_SRC=<checkout of Odoo 19> to an Odoo that you already have"
    )


def unpack(packages: Sequence[str], suite: str, into: Path, work: Path) -> list[Path]:
    """Download `packages` of `suite` and unpack them into the folder `into`.

    `work` takes apt's lists and the archives; the caller may delete it afterwards. Returns the
    downloaded archives.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise SetupError(
                f"there is no {program} here to fetch {packages[0]} from Debian: "
                "set ODOO_SRC=<checkout of Odoo 19> to an Odoo that you already have"
            )
    source = mirror()
    for folder in ("parts", "state", "lists/partial", "cache/archives/partial", "archives"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "sources.list").write_text(f"deb [signed-by={keyring()}] {source} {suite} main\n")
    before = work / "before.conf"
    before.write_text(
        f'Dir::Etc::sourcelist "{work}/sources.list";\n'
        f'Dir::Etc::sourceparts "{work}/parts";\n'
        f'Dir::State "{work}/state";\n'
        f'Dir::State::Lists "{work}/lists";\n'
        f'Dir::Cache "{work}/cache";\n'
        'Acquire::Languages "none";\n'
        'Acquire::Retries "3";\n'
        'APT::Update::Error-Mode "any";\n'
        # The unprivileged _apt user may not enter a home directory.
        'APT::Sandbox::User "root";\n'
    )
    # Read after the machine's own configuration, whose hooks would touch the system's cache.
    after = work / "after.conf"
    after.write_text(
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
        "#clear DPkg::Post-Invoke;\n"
    )
    logs = cache.root() / "logs"
    private = environment(APT_CONFIG=str(before), LC_ALL="C")
    archives = work / "archives"
    run_logged(
        ["apt-get", "-q", "-c", after, "update"],
        logs / "apt-update.log",
        f"the package lists of Debian {suite} could not be fetched from {source}",
        env=private,
    )
    run_logged(
        ["apt-get", "-q", "-c", after, "download", *packages],
        logs / "apt-download.log",
        f"{packages[0]} could not be fetched from Debian {suite} at {source}",
        env=private,
        cwd=archives,
    )
    found = sorted(archives.glob("*.deb"))
    into.mkdir(parents=True, exist_ok=True)
    for archive in found:
        run_logged(
            ["dpkg", "-x", archive, into],
            logs / "apt-unpack.log",
            f"{archive.name} could not be unpacked",
        )
    return found
