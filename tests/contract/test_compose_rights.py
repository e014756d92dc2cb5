"""Who may do what in the containers of `compose.yaml`: passwords, users, privileges. No engine is needed."""

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from tests.composed import PASSWORDS, Project, app_settings, conf, configured, environment

from snacks import config
from snacks.platform.compose import ROOT, make_env, read_env

PRIVILEGES = "SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT"


@pytest.mark.parametrize("missing", PASSWORDS)
def test_without_a_password_nothing_starts_and_the_error_says_what_to_do(
    compose: list[str], tmp_path: Path, missing: str
) -> None:
    done = configured(compose, tmp_path, {name: "" if name == missing else "x" for name in PASSWORDS})
    assert done.returncode != 0
    assert missing in done.stderr
    assert "./snacks platform env" in done.stderr


def test_env_is_made_once_with_a_password_of_its_own_for_each(compose: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    assert make_env(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    made = read_env(tmp_path)
    assert tuple(made)[: len(PASSWORDS)] == PASSWORDS
    values = [made[name] for name in PASSWORDS]
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in values)
    assert len(set(values)) == len(values)
    done = configured(compose, tmp_path, made)
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "snacks-redpanda"
    assert not make_env(tmp_path)
    assert read_env(tmp_path) == made


def test_every_port_is_published_on_loopback_only(project: Project) -> None:
    for name, service in project["services"].items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_the_pages_of_the_databases_get_the_apps_rights_and_no_more(project: Project) -> None:
    express, settings = environment(project, "mongo-express"), app_settings(project)
    assert express["ME_CONFIG_MONGODB_ENABLE_ADMIN"] == "false"
    user, password = re.search(r"//(\w+):(\w+)@", settings.mongo).groups()  # type: ignore[union-attr]
    url = f"mongodb://{user}:{password}@mongo:27017/{settings.mongo_database}?"
    assert express["ME_CONFIG_MONGODB_URL"].startswith(url)
    assert express["ME_CONFIG_BASICAUTH"] == "true"
    assert express["ME_CONFIG_BASICAUTH_PASSWORD"] == password
    assert environment(project, "adminer") == {"ADMINER_DEFAULT_SERVER": "mysql"}


def test_users_and_databases_are_those_of_the_code(project: Project) -> None:
    settings, default = app_settings(project), config.Settings()
    mysql = environment(project, "mysql")
    assert settings.mysql_user == default.mysql_user == mysql["MYSQL_USER"]
    assert settings.mysql_database == default.mysql_database == mysql["MYSQL_DATABASE"]
    assert settings.mysql_password == mysql["MYSQL_PASSWORD"]
    assert settings.mongo_database == default.mongo_database
    made = project["configs"]["mongo-snacks"]["content"]
    user, password = re.search(r"//(\w+):(\w+)@", settings.mongo).groups()  # type: ignore[union-attr]
    assert f'user: "{user}"' in made
    assert f'pwd: "{password}"' in made
    assert f'role: "readWrite", db: "{settings.mongo_database}"' in made
    assert f'getSiblingDB("{settings.mongo_database}")' in made
    assert f"authSource={settings.mongo_database}" in settings.mongo


def test_debezium_has_a_user_of_its_own_with_five_privileges(project: Project) -> None:
    connect, sql = environment(project, "connect"), project["configs"]["mysql-debezium"]["content"]
    user = connect["SNACKS_CDC_USER"]
    assert f"CREATE USER '{user}'@'%' IDENTIFIED BY '{connect['SNACKS_CDC_PASSWORD']}'" in sql
    assert f"GRANT {PRIVILEGES} ON *.* TO '{user}'@'%'" in sql
    assert f"CREATE USER '{user}'@'%'" in conf("mysql-init.sql")


def test_the_app_may_ask_for_the_place_in_the_binlog_and_nothing_else_outside_its_database(
    project: Project,
) -> None:
    user = project["services"]["mysql"]["environment"]["MYSQL_USER"]
    for sql in (project["configs"]["mysql-debezium"]["content"], conf("mysql-init.sql")):
        grants = [line.strip() for line in sql.splitlines() if f"'{user}'@'%'" in line and "ON *.*" in line]
        assert [line.partition(";")[0] for line in grants] == [
            f"GRANT REPLICATION CLIENT ON *.* TO '{user}'@'%'"
        ]


def test_the_debezium_password_is_known_to_connect_only(project: Project) -> None:
    secret = environment(project, "connect")["SNACKS_CDC_PASSWORD"]
    assert environment(project, "connect")["SNACKS_CDC_MONGO_URL"] == app_settings(project).mongo
    knowing = [name for name, service in project["services"].items() if secret in json.dumps(service)]
    assert knowing == ["connect"]


def test_the_app_runs_without_rights_and_without_writing(project: Project) -> None:
    app = project["services"]["app"]
    assert app["read_only"]
    assert app["cap_drop"] == ["ALL"]
    assert [entry.split(":")[0] for entry in app["tmpfs"]] == ["/tmp", "/tmp/snacks"]
    assert all(volume["read_only"] for volume in app["volumes"])
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    assert lines.index("USER snacks") < lines.index('CMD ["python", "-m", "snacks", "serve"]')


def test_mongo_makes_its_key_once_and_then_starts_the_server(project: Project, tmp_path: Path) -> None:
    mongo = project["services"]["mongo"]
    shell, options, script, name = (part.replace("$$", "$") for part in mongo["entrypoint"])
    for stub in ("chown", "docker-entrypoint.sh"):
        (tmp_path / stub).write_text(f'#!/bin/sh\necho {stub} "$@"\n', "utf-8")
        (tmp_path / stub).chmod(0o755)
    script = script.replace("/data/configdb", str(tmp_path))
    key, contents = tmp_path / "replica-set.key", set()
    for _start in range(2):
        done = subprocess.run(
            [shell, options, script, name, *mongo["command"]],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == shlex.join(["docker-entrypoint.sh", *mongo["command"]])
        assert stat.S_IMODE(key.stat().st_mode) == 0o400
        contents.add(key.read_text("ascii"))
    assert len(contents) == 1
    assert re.fullmatch(r"[A-Za-z0-9+/]{1008}", contents.pop())  # mongod takes 6 to 1024 base64 characters
    assert f"--keyFile={key}".replace(str(tmp_path), "/data/configdb") in mongo["command"]
