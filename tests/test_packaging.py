"""Docker, compose, GitHub and pre-commit files: valid, and about the variant."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from harness import ROOT, ROWS, VARIANTS, Project, Template, as_answers, row_id

pytestmark = pytest.mark.fast

DOCKER = [row for row in ROWS if row["docker"]]


def assert_schema(name: str, project: Project, path: str) -> None:
    """Against the schema that check-jsonschema carries."""
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", f"vendor.{name}", path],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=DOCKER, ids=row_id)
def docker_row(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture
def project(template: Template, docker_row: dict[str, Any]) -> Project:
    return template.render(**as_answers(docker_row))


def instructions(project: Project) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", project.text("Dockerfile"), flags=re.M)
    lines = re.sub(r"\\\n", "", text).splitlines()
    return [(word, rest) for word, _, rest in (x.partition(" ") for x in lines if x)]


def test_dockerfile_is_multi_stage_and_not_root(project: Project) -> None:
    steps = instructions(project)
    known = {"FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "EXPOSE", "CMD"}
    assert {word for word, _ in steps} == known | {"HEALTHCHECK"}
    stages = [n for n, (word, _) in enumerate(steps) if word == "FROM"]
    assert len(stages) == 2
    last = dict(steps[stages[1] :])
    assert last["USER"] not in {"root", "0"}
    assert json.loads(last["CMD"]) == ["api-admin", "serve", "--host", "0.0.0.0"]  # noqa: S104
    assert "uv" not in last["COPY"]


def test_dockerfile_s_healthcheck_is_valid_python(project: Project) -> None:
    check = dict(instructions(project))["HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/livez" in command[2]


def test_image_has_what_the_service_needs_and_no_more(project: Project) -> None:
    ignored = project.text(".dockerignore").splitlines()
    kept = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}
    assert {"app", "pyproject.toml", "README.md", "uv.lock"} <= kept
    assert ".env" not in kept
    for name in kept - {"uv.lock"}:
        assert (project.path / name).exists(), name


def test_compose_has_the_services_that_were_chosen(
    project: Project, docker_row: dict[str, Any]
) -> None:
    assert_schema("compose-spec", project, "compose.yaml")
    compose = yaml.safe_load(project.text("compose.yaml"))
    expected = {"app"}
    if docker_row["database"] == "postgresql":
        expected |= {"postgres", "migrate"}
    if docker_row["cache"] == "redis":
        expected |= {"redis"}
    assert compose["services"].keys() == expected
    # Compose builds at the same time, and the second build of one name fails.
    services = compose["services"].items()
    built = [each.get("image", name) for name, each in services if "build" in each]
    assert len(built) == len(set(built))
    for service in compose["services"].values():
        assert service.keys() & {"image", "build"}
        for name, condition in service.get("depends_on", {}).items():
            depended = compose["services"][name]
            assert condition["condition"] == "service_completed_successfully" or (
                "healthcheck" in depended
            )
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]


def test_a_change_of_what_the_image_has_builds_it_again(project: Project) -> None:
    service = yaml.safe_load(project.text("compose.yaml"))["services"]["app"]
    watched = {(rule["action"], rule["path"]) for rule in service["develop"]["watch"]}
    ignored = project.text(".dockerignore").splitlines()
    kept = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}
    assert watched == {("rebuild", path) for path in kept - {"README.md"}}


def test_migrations_run_before_the_service_starts(template: Template) -> None:
    project = template.render(database="postgresql")
    services = yaml.safe_load(project.text("compose.yaml"))["services"]
    assert services["migrate"]["command"] == ["api-admin", "db", "upgrade"]
    waited = services["app"]["depends_on"]["migrate"]["condition"]
    assert waited == "service_completed_successfully"


def test_workflows_are_valid_and_complete(template: Template) -> None:
    project = template.render()
    texts = []
    for path in (".github/workflows/ci.yml", ".github/workflows/template.yml"):
        assert_schema("github-workflows", project, path)
        texts.append(project.text(path))
        assert "\npermissions: {}\n" in texts[-1]
    text = "\n".join(texts)
    for command in (
        "api-admin db upgrade",
        "api-admin check",
        "uvx 'copier>=9.19,<10'",
    ):
        assert command in text
    bash = shutil.which("bash")
    assert bash is not None
    for workflow in map(yaml.safe_load, texts):
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if run := step.get("run"):
                    subprocess.run([bash, "-n"], input=run, text=True, check=True)


def test_workflows_pin_their_actions_and_agree(template: Template) -> None:
    """Dependabot reads those of the template; those of the service are to follow."""
    service = template.render().path / ".github/workflows"
    pins = set()
    for path in (*service.glob("*.yml"), *(ROOT / ".github/workflows").glob("*.yml")):
        for action in re.findall(r"uses: (.+)", path.read_text()):
            assert re.fullmatch(
                r"(actions|astral-sh)/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action
            ), action
            pins.add(action)
    names = [pin.split("@")[0] for pin in pins]
    assert sorted(names) == sorted(set(names)), pins


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize("github_ci", [True, False])
def test_dependabot_looks_after_what_is_there(
    template: Template, docker: bool, github_ci: bool
) -> None:
    project = template.render(
        dependency_updates="dependabot", docker=docker, github_ci=github_ci
    )
    assert_schema("dependabot", project, ".github/dependabot.yml")
    updates = yaml.safe_load(project.text(".github/dependabot.yml"))["updates"]
    expected = {"uv"}
    expected |= {"github-actions"} if github_ci else set()
    expected |= {"docker", "docker-compose"} if docker else set()
    assert {update["package-ecosystem"] for update in updates} == expected
    assert "renovate.json" not in project.files()
    assert github_ci == (".github/workflows/ci.yml" in project.files())


def test_renovate_has_one_file(template: Template) -> None:
    project = template.render(dependency_updates="renovate")
    assert_schema("renovate", project, "renovate.json")
    extra = project.files().keys() - template.render().files().keys()
    assert {str(name) for name in extra} == {"renovate.json"}


@pytest.mark.parametrize("row", VARIANTS, ids=row_id)
def test_conflict_markers_are_refused_before_a_commit(
    template: Template, row: dict[str, Any]
) -> None:
    project = template.render(**as_answers(row))
    hooks = {
        hook["id"]: hook
        for repository in yaml.safe_load(project.text(".pre-commit-config.yaml"))[
            "repos"
        ]
        for hook in repository["hooks"]
    }
    assert hooks.keys() >= {"conflict-markers", "ruff-check", "ruff-format", "mypy"}
    assert "--assume-in-merge" in hooks["conflict-markers"]["entry"]
    assert re.search(hooks["rejected-changes"]["files"], "app/main.py.rej")
