"""What is installed: everything, the operator without the packages of the stand-ins, and the image."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
EVERYTHING = ["pyproject.toml", "README.md", "LICENSE", "operator"]
OPERATOR = """
  run     Run the operator.
  config  Check and edit the daemon's file without a cluster.
  hub     See a hub's devices, and import them.
  device  Import a device as it is, over SSH.
"""
STAND_INS = """\
  demo    Show the whole product on this machine.
  sim     Stand-ins for hub, devices and API server.
"""
SIM = """
  devices  IoT Edge devices behind SSH.
  hub      An IoT Hub registry emulator.
  kube     A Kubernetes API simulator.
"""


def dockerfile() -> list[str]:
    """What the Dockerfile copies for the build: files and folders, each to where it was."""
    _, build, _ = (ROOT / "Dockerfile").read_text().split("\nFROM ")
    copied = []
    for *sources, target in (words.split() for words in re.findall(r"^COPY (.*)$", build, re.MULTILINE)):
        for source in sources:
            assert target in ("./", f"./{source}")
            copied.append(source)
    return copied


def wheel(sources: list[str], folder: Path) -> Path:
    """The wheel that pip makes of a copy of these files."""
    tree, built = folder / "tree", folder / "built"
    for source in sources:
        target = tree / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--wheel-dir", built, tree], check=True, capture_output=True)
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="module")
def whole_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clone."""
    return wheel(EVERYTHING, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def image_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is in the image."""
    return wheel(dockerfile(), tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def without_extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of this environment, but for those of the extra `sim` and for edgeherd itself."""
    requires = importlib.metadata.requires("edgeherd") or []
    extra = [re.split(r"[^\w.-]", line)[0] for line in requires if re.search(r"extra == .sim.$", line)]
    assert "rich" in extra
    left_out = {file.parts[0] for name in ["edgeherd", *extra] for file in importlib.metadata.files(name) or []}
    folder = tmp_path_factory.mktemp("packages")
    for path in SITE_PACKAGES.iterdir():
        if path.name not in left_out:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Where Python finds packages in an installation: everything, or that wheel without the packages of the extra."""
    if request.param == "everything":
        return [ROOT / "operator", SITE_PACKAGES]
    zipfile.ZipFile(request.getfixturevalue(request.param)).extractall(tmp_path)
    return [tmp_path, request.getfixturevalue("without_extra")]


def python(places: list[Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these packages and no others: -S keeps it from the editable installation of this environment."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=100)


def test_the_image_has_the_operator_and_nothing_else(image_wheel: Path) -> None:
    """All files of operator/edgeherd, and no stand-in."""
    names = {name for name in zipfile.ZipFile(image_wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "operator/edgeherd").rglob("*") if path.is_file())
    assert names == {str(path.relative_to(ROOT / "operator")) for path in files if "__pycache__" not in path.parts}


@pytest.mark.parametrize(
    ("places", "arguments", "status", "end"),
    [
        pytest.param("everything", "--help", 0, f"Commands:{OPERATOR}{STAND_INS}", id="everything is listed"),
        pytest.param("everything", "sim --help", 0, f"Commands:{SIM}", id="the stand-ins are listed"),
        pytest.param("everything", "sim hub --port x", 2, "'x' is not a valid integer range.\n", id="and there"),
        pytest.param("whole_wheel", "--help", 0, f"Commands:{OPERATOR}{STAND_INS}", id="without the extra: the same"),
        pytest.param("whole_wheel", "sim --help", 0, f"Commands:{SIM}", id="the stand-ins too"),
        pytest.param(
            "whole_wheel",
            "demo",
            1,
            "Error: 'demo' needs more packages: pip install 'edgeherd[sim]'\n",
            id="but the demo says what it lacks",
        ),
        pytest.param(
            "whole_wheel",
            "sim kube",
            1,
            "Error: 'kube' needs more packages: pip install 'edgeherd[sim]'\n",
            id="and so does a stand-in",
        ),
        pytest.param("image_wheel", "--help", 0, f"Commands:{OPERATOR}", id="the image: the operator's commands alone"),
        pytest.param("image_wheel", "config check --help", 0, "exit.\n", id="which are there"),
        pytest.param("image_wheel", "demo", 2, "Error: No such command 'demo'.\n", id="no demo"),
        pytest.param("image_wheel", "sim hub", 2, "Error: No such command 'sim'.\n", id="no stand-ins"),
    ],
    indirect=["places"],
)
def test_commands(places: list[Path], arguments: str, status: int, end: str) -> None:
    """What `edgeherd` offers is what is installed."""
    done = python(places, "-m", "edgeherd", *arguments.split())
    said = done.stdout + done.stderr
    assert (done.returncode, said[-len(end) :], "Traceback" in said) == (status, end, False)


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        pytest.param(["--help"], ["edgeherd_sim", "edgeherd_sim.commands"], id="the list of commands: their names"),
        pytest.param(
            ["sim", "--help"], ["edgeherd_sim", "edgeherd_sim.commands"], id="the list of stand-ins: the same"
        ),
        pytest.param(["config", "--help"], [], id="a command of the operator: nothing of the stand-ins"),
    ],
)
def test_who_pays_for_the_stand_ins(arguments: list[str], imported: list[str]) -> None:
    """Only who starts one."""
    code = f"""
import sys
from edgeherd.cli import main
main({arguments}, standalone_mode=False)
print(sorted(name for name in sys.modules if name.startswith("edgeherd_sim")))
"""
    done = python([ROOT / "operator", SITE_PACKAGES], "-c", code)
    assert done.stdout.splitlines()[-1:] == [str(imported)], done.stderr
