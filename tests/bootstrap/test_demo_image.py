"""The demo's image: what it is named after, what is in it, and that it is made once."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import docker
import pip
import pytest

from mcpgw.bootstrap import archive, demo_image, rootfs
from mcpgw.bootstrap.command import run
from mcpgw.bootstrap.engine_api import (
    Engine,
    image_tags,
    import_image,
    local_name,
    remove_labelled,
    try_to_untag,
)
from tests.engines import PROJECT_LABEL, RealEngine


@pytest.fixture
def demo_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's sources in a folder that a test may change."""
    copy = tmp_path / "demo"
    shutil.copytree(demo_image.DEMO_DIR, copy)
    monkeypatch.setattr(demo_image, "DEMO_DIR", copy)
    monkeypatch.setattr(demo_image, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(demo_image, "RECIPE", ())
    return copy


def test_the_name_changes_with_the_sources_and_with_nothing_else(demo_copy: Path) -> None:
    before = demo_image.source_hash()
    (demo_copy / "__pycache__").mkdir(exist_ok=True)
    (demo_copy / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert demo_image.source_hash() == before
    (demo_copy / "app.py").write_text("changed")
    assert demo_image.source_hash() != before


@pytest.mark.engine
def test_an_image_that_is_there_is_not_made_again(
    real_engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("made again")

    monkeypatch.setattr(demo_image, "_give", refuse)
    engine = Engine("docker" if real_engine.name == "docker" else "podman", real_engine.url)
    assert demo_image.ensure_demo_image(engine) == real_engine.image


def test_only_the_data_belongs_to_the_demo_and_only_tmp_is_everybodys(tmp_path: Path) -> None:
    for name in ("base/usr/bin", "wheels/mcp", "app/demo"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "app" / "demo" / "x.py").write_text("x = 1\n")
    tar = tmp_path / "image.tar"
    archive.write_image(tar, base=tmp_path / "base", wheels=tmp_path / "wheels", app=tmp_path / "app")
    with tarfile.open(tar) as file:
        entries = {entry.name: entry for entry in file}
    assert {name for name, entry in entries.items() if entry.uid != 0} == {"data"}
    assert {name for name, entry in entries.items() if entry.mode & 0o002} == {"tmp"}
    assert {"app/demo/x.py", "app/lib/mcp", "usr/bin", "etc/passwd"} <= entries.keys()


def test_folders_outside_usr_become_links_into_it(tmp_path: Path) -> None:
    """As packages of older releases have them, with a folder that exists on both sides."""
    for name in (
        "lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libz.so.1",
        "bin/sh",
        "usr/lib64/a",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    rootfs.merge_usr(tmp_path)
    assert (tmp_path / "lib").readlink() == Path("usr/lib")
    assert {path.name for path in (tmp_path / "lib" / "x86_64-linux-gnu").iterdir()} == {
        "libc.so.6",
        "libz.so.1",
    }
    assert (tmp_path / "usr" / "bin" / "sh").read_text() == "bin/sh"
    assert (tmp_path / "lib64").readlink() == Path("usr/lib64")


def test_the_packages_are_the_ones_python_needs() -> None:
    python = rootfs.python_version()
    packages = rootfs.closure([f"python{python}-minimal", f"libpython{python}-stdlib"])
    assert {"libc6", f"python{python}-minimal", f"libpython{python}-stdlib"} <= set(packages)
    assert not {"perl", "dpkg", "debconf", "libc6-i386"} & set(packages)
    assert len(packages) < 50


def test_a_context_for_the_dockerfile_holds_what_it_copies(tmp_path: Path) -> None:
    tar = tmp_path / "context.tar"
    archive.write_context(demo_image.DEMO_DIR, demo_image.sources(demo_image.DEMO_DIR), tar)
    with tarfile.open(tar) as file:
        names = set(file.getnames())
    assert {"Dockerfile", "requirements.lock", "app.py", "static/demo.js"} <= names
    assert not any("__pycache__" in name for name in names)


@pytest.mark.engine
def test_the_dockerfile_makes_the_same_image_on_a_base_from_elsewhere(
    real_engine: RealEngine, project_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a base that stands in for the registry's: this Debian's Python, pip, and the wheels beside it."""
    engine = Engine("docker" if real_engine.name == "docker" else "podman", real_engine.url)
    tag = f"{engine.name}-built"  # the context is a file of that name
    built = local_name(engine, f"{project_name}:{tag}")
    api = docker.APIClient(base_url=real_engine.url, version="1.41")
    try:
        _give_base(engine, project_name, tmp_path)
        monkeypatch.setattr(demo_image, "REPOSITORY", project_name)
        demo_image.build_from_dockerfile(engine, tag, base=local_name(engine, f"{project_name}:base"))
        imported = local_name(engine, real_engine.image)
        assert _starting(api, built) == _starting(api, imported)
        made = api.create_container(built, command=["-c", LOOK_ABOUT], labels={PROJECT_LABEL: project_name})
        api.start(made["Id"])
        code, said = api.wait(made["Id"])["StatusCode"], api.logs(made["Id"]).decode()
    finally:
        api.close()
        remove_labelled(engine, f"{PROJECT_LABEL}={project_name}")
        for one in (tag, "base"):
            try_to_untag(engine, f"{project_name}:{one}")
    assert code == 0, said
    assert said.split() == ["1000", "1000:750", "mcp", "lib/mcp", "starlette", "lib/starlette"]


LOOK_ABOUT = """
import os, demo.app, mcp, starlette
data = os.stat(os.environ["DATA_DIR"])
print(os.getuid(), f"{data.st_uid}:{data.st_mode & 0o777:o}")
for one in (mcp, starlette):
    print(one.__name__, os.path.relpath(os.path.dirname(one.__file__), "/app"))
    assert os.path.exists(one.__cached__), "it was compiled"
"""


def _give_base(engine: Engine, repository: str, folder: Path) -> None:
    python, wheels, tar = rootfs.python_version(), folder / "wheels", folder / "base.tar"
    run(demo_image.pip_words(python, "download", "--dest", str(wheels)), mend="")
    parts = {wheels: "wheels", Path(pip.__file__).parent: "usr/lib/python3/dist-packages/pip"}
    parts |= {path: path.name for path in demo_image.base(python).iterdir()}
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as file:
        for path, name in parts.items():
            file.add(path, arcname=name)
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        file.addfile(tmp)
    changes = [*demo_image.BASE_CHANGES, "ENV PIP_NO_INDEX=1", "ENV PIP_FIND_LINKS=/wheels"]
    import_image(engine, tar, repository=repository, tag="base", changes=changes)


def _starting(api: docker.APIClient, image: str) -> dict[str, Any]:
    """How an image is to be started, but for what its base brings along."""
    config = api.inspect_image(image)["Config"]
    names = ("User", "WorkingDir", "Entrypoint", "Cmd", "ExposedPorts")
    environment = sorted(one for one in config["Env"] if not one.startswith("PIP_"))
    return {"Env": environment} | {name: config[name] for name in names}


@pytest.mark.engine
def test_old_images_are_forgotten(
    real_engine: RealEngine, project_name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Under another name, so that nobody's images are touched."""
    engine = Engine("docker" if real_engine.name == "docker" else "podman", real_engine.url)
    monkeypatch.setattr(demo_image, "REPOSITORY", project_name)
    for number in range(demo_image.KEPT_MAX + 2):
        (tmp_path / "content").write_text(str(number))
        with tarfile.open(tmp_path / "image.tar", "w") as file:
            file.add(tmp_path / "content", arcname="content")
        import_image(engine, tmp_path / "image.tar", repository=project_name, tag=str(number), changes=[])
    demo_image.forget_old_images(engine, current="0")
    kept = image_tags(engine, project_name)
    assert "0" in kept
    assert len(kept) == demo_image.KEPT_MAX
    for tag in kept:
        assert try_to_untag(engine, f"{project_name}:{tag}")
