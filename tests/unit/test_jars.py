"""The jars that containers fetch for themselves are the pinned ones."""

import pytest

from snacks.platform import PlatformError, artifacts, clients, jars


def test_a_name_that_is_not_pinned_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(PlatformError, match="nope"):
        jars.fetch("connect", tmp_path / "jars", ["kafka-clients", "nope"])
    with pytest.raises(PlatformError, match="no-such-set"):
        jars.fetch("no-such-set", tmp_path / "jars", [])
    assert not (tmp_path / "jars").exists()


def test_each_jar_comes_once_and_a_changed_one_is_refused(tmp_path, monkeypatch):
    asked = []

    def download(artifact, folder, _advance, _cancel):
        asked.append(artifact.name)
        path = folder / artifact.filename
        path.write_bytes(b"jar")
        return path

    monkeypatch.setattr(clients, "fetch", download)
    with pytest.raises(PlatformError, match="not the pinned file"):
        jars.fetch("connect", tmp_path, ["kafka-clients"])
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(artifacts, "verify", lambda _artifact, _path: None)
    for _again in range(2):
        jars.fetch("connect", tmp_path, ["kafka-clients"])
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["kafka"]
    assert len(asked) == 2
