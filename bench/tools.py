"""What only benchmarks need, fetched on demand: a virtual environment, the jars of rivals, a load tool.

All of it lies in the cache that the servers are in, each under a name that changes with its lock.
"""

import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from snacks.config import Settings
from snacks.platform import PlatformError, artifacts, clients, fetch
from snacks.platform.artifacts import Artifact

RIVALS = Path(__file__).parent / "rivals"
SECONDS = 900


def python(settings: Settings) -> Path:
    """The Python of an environment with the Python rivals and matplotlib; made at the first call.

    Raises:
        PlatformError: it cannot be made; says what to do.
    """
    lock = RIVALS / "requirements.lock"
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:10]
    folder = settings.cache_dir / f"bench-venv-{key}"
    path = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        options = ["--disable-pip-version-check", "--no-input", "--quiet", "--require-hashes", "--no-deps"]
        _run([str(path), "-m", "pip", "install", *options, "--only-binary=:all:", "-r", str(lock)])
        (folder / "complete").touch()
    return path


def draw(settings: Settings, folder: Path) -> Path:
    """Draw all results in the folder; returns the page.

    Raises:
        PlatformError: it cannot be drawn.
    """
    _run([str(python(settings)), str(Path(__file__).with_name("plot.py")), str(folder)])
    return folder / "index.html"


def jars(settings: Settings, name: str) -> Path:
    """The folder with the jars of a Java rival beyond the broker's own.

    Raises:
        PlatformError: they cannot be fetched.
    """
    pins = [
        pin for pin in artifacts.parse_lock((RIVALS / "artifacts.lock").read_text("utf-8")) if pin.set == name
    ]
    folder = settings.cache_dir / f"bench-{name}-{artifacts.key(pins)}"
    if not folder.exists():
        half = folder.with_name(folder.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for pin in pins:
            _fetch(pin, half)
        half.rename(folder)
    return folder


def _fetch(pin: Artifact, folder: Path) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    path = clients.fetch(pin, temporary, lambda _size: None, threading.Event())
    artifacts.verify(pin, path)
    path.rename(folder / pin.filename)
    shutil.rmtree(temporary)


def java(settings: Settings, name: str, jars: Sequence[Path], *flags: str) -> list[str | Path]:
    """`java -cp ...` for a rival, whose sources in rivals/NAME are compiled at the first call.

    Raises:
        PlatformError: there is no Java compiler; says what to install.
    """
    installed = fetch(settings)
    sources = sorted((RIVALS / name).glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:10]
    classes = settings.state_dir / "rivals" / f"{name}-{digest}"
    libraries = ":".join(f"{folder}/*" for folder in jars)
    if not classes.exists():
        compiler = installed.java.path.resolve().with_name("javac")
        found = str(compiler) if compiler.exists() else shutil.which("javac")
        if not found:
            raise PlatformError(
                f"To compile the rival {name} a JDK of 17 or newer is needed: apt-get install "
                "openjdk-17-jdk-headless, or leave the rival out (--only)."
            )
        half = classes.with_name(classes.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _run([found, "--release", "17", "-d", str(half), "-cp", libraries, *map(str, sources)])
        half.rename(classes)
    return [installed.java.path, *flags, "-cp", f"{classes}:{libraries}"]


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise PlatformError(f"{' '.join(argv[:4])} … failed:\n{(done.stderr or done.stdout)[-1500:]}")
