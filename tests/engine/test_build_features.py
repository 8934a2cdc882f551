"""What BuildKit's front end has and the old builder has not: mounts, here-documents, inline caches, URLs, late stages."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig_builds import BASE, Workshop
from tests.rigs.users import User


@pytest.fixture(scope="module")
def shop(as_user: User) -> Workshop:
    return Workshop(as_user, "features")


def lines(*instructions: str) -> str:
    return "\n".join(instructions) + "\n"


# --- mounts ---


def test_a_bound_context_is_read_only_and_lacks_what_is_ignored(shop: Workshop) -> None:
    context = shop.context(
        "bound", "mkdir -p src/deep; echo 1 >src/deep/a; echo 2 >src/secret; echo src/secret >.dockerignore"
    )
    text = lines(
        f"FROM {BASE}", "RUN --mount=type=bind,source=src,target=/in find /in -type f && ! touch /in/x",
        "RUN --mount=type=bind,target=/in,rw touch /in/src/x && ls /in/src", "RUN ! ls /in",
    )  # fmt: skip
    built = shop.must_build(context, text=text)
    assert built.output.split()[0] == "/in/deep/a"
    assert built.output.split()[-2:] == ["deep", "x"] or "deep" in built.output
    assert "secret" not in built.output
    assert list(shop.tree(built.id)) == list(shop.tree(shop.must_build(None, text=f"FROM {BASE}\n").id))


def test_a_file_of_a_stage_is_bound_without_its_other_files(shop: Workshop) -> None:
    text = lines(
        f"FROM {BASE} AS made", "RUN mkdir /d && echo one >/d/one && echo two >/d/two && ln -s d link", f"FROM {BASE}",
        "RUN --mount=from=made,source=/link/one,target=/m/one cat /m/one && ls /m",
        "RUN --mount=from=made,source=/link,target=/m ls /m", f"RUN --mount=from={BASE},source=/bin,target=/b test -x /b/sh",
    )  # fmt: skip
    assert shop.must_build(None, text=text).output.split() == ["one", "one", "one", "two"]


def test_a_cache_folder_outlives_the_build_and_is_in_no_layer(shop: Workshop) -> None:
    text = "FROM {}\nARG N\nRUN --mount=type=cache,target=/var/c,id=kept echo $N >>/var/c/log; cat /var/c/log\n"
    found = [shop.must_build(None, text=text.format(BASE), args={"N": str(n)}) for n in range(3)]
    assert [built.output.split() for built in found] == [["0"], ["0", "1"], ["0", "1", "2"]]
    assert "var/c" not in shop.tree(found[-1].id)


def test_a_cache_folder_begins_with_what_it_is_given(shop: Workshop) -> None:
    text = lines(
        f"FROM {BASE} AS seed", "RUN mkdir /s && echo seed >/s/f", f"FROM {BASE}",
        "RUN --mount=type=cache,target=/c,from=seed,source=/s,id=seeded,mode=0700,uid=0 cat /c/f && stat -c %a /c",
    )  # fmt: skip
    assert shop.must_build(None, text=text).output.split() == ["seed", "700"]


def test_private_caches_are_two_at_a_time_and_locked_ones_wait(shop: Workshop) -> None:
    def stages(sharing: str) -> str:
        step = f"RUN --mount=type=cache,target=/c,id={sharing},sharing={sharing} ls /c; touch /c/{{0}}; sleep 0.5; ls /c | wc -l"
        return lines(f"FROM {BASE} AS a", step.format("a"), f"FROM {BASE} AS b", step.format("b"), f"FROM {BASE}",
                     "COPY --from=a /etc /a", "COPY --from=b /etc /b")  # fmt: skip

    assert [n for n in shop.must_build(None, text=stages("private")).output.split() if n.isdigit()] == ["1", "1"]
    assert sorted(n for n in shop.must_build(None, text=stages("locked")).output.split() if n.isdigit()) == ["1", "2"]


def test_memory_is_bounded_and_gone(shop: Workshop) -> None:
    text = lines(
        f"FROM {BASE}",
        "RUN --mount=type=tmpfs,target=/t,size=1m ! dd if=/dev/zero of=/t/f bs=1M count=2",
        "RUN ! ls /t",
    )
    assert shop.must_build(None, text=text).id


# --- here-documents ---


def test_here_documents_are_scripts_and_files(shop: Workshop) -> None:
    text = lines(
        f"FROM {BASE}", "ARG WHO=you", "RUN <<EOF", "echo for $WHO", "false || echo went on", "EOF", "RUN <<'X' cat", "$WHO stays", "X",
        "RUN <<EOF", "#!/bin/busybox sh", "echo by $0", "EOF", 'COPY <<"RAW" <<-EXPANDED /d/', "$WHO", "RAW", "\tfor $WHO", "EXPANDED",
        "RUN cat /d/RAW /d/EXPANDED",
    )  # fmt: skip
    built = shop.must_build(None, text=text)
    assert built.output.splitlines() == [
        "for you", "went on", "$WHO stays", "by /dev/pipes/EOF", "$WHO", "for you",
    ]  # fmt: skip
    assert not any(name.startswith("dev/") for name in shop.tree(built.id))


# --- stages ---


def test_independent_stages_overlap(shop: Workshop) -> None:
    """Each waits for the other to be there: one after the other they would never end."""
    meet = "RUN --mount=type=cache,target=/c,id=meet touch /c/{0}; while ! [ -e /c/{1} ]; do sleep 0.05; done"
    text = lines(f"FROM {BASE} AS a", meet.format("a", "b"), f"FROM {BASE} AS b", meet.format("b", "a"), f"FROM {BASE}",
                 "COPY --from=a /etc /a", "COPY --from=b /etc /b")  # fmt: skip
    assert shop.must_build(None, text=text, no_cache=True).id


def test_a_failure_stops_the_other_stages_and_is_the_one_told(shop: Workshop) -> None:
    text = lines(f"FROM {BASE} AS a", "RUN sleep 60", f"FROM {BASE} AS b", "RUN sleep 0.3; exit 7", f"FROM {BASE}",
                 "COPY --from=a / /a", "COPY --from=b / /b")  # fmt: skip
    built = shop.build(None, text=text)
    assert (built.kind, "exit code: 7" in built.error) == ("StepFailed", True)
    assert (built.steps["0.1"], built.steps["1.1"]) == ("canceled", "failed")


def test_a_trigger_may_need_a_stage_that_nobody_else_does(shop: Workshop) -> None:
    base = lines(f"FROM {BASE}", "ONBUILD COPY --from=late /made /made")
    shop.must_build(None, text=base, tags=["triggers:1"])
    text = lines(f"FROM {BASE} AS late", "RUN echo late >/made", "FROM triggers:1", "RUN cat /made")
    assert shop.must_build(None, text=text).output == "late\n"


def test_the_state_before_a_failed_step_can_be_looked_at(shop: Workshop) -> None:
    built = shop.build(None, text=lines(f"FROM {BASE}", "RUN echo kept >/kept", "RUN echo gone >/gone; exit 3"))
    assert built.kind == "StepFailed"
    assert shop.run(built.image, "sh", "-c", "cat /kept; ls /gone || true").splitlines()[0] == "kept"
    assert f"%container run -it --rm {built.image} /bin/sh" in built.error


# --- caches that travel ---


def test_an_inline_cache_saves_another_machine_the_work(shop: Workshop, as_user: User) -> None:
    """The image goes to a store without any cache; a build that is not told to believe it does all anew."""
    text = lines(f"FROM {BASE}", "RUN echo x >/x", "RUN true", "RUN echo y >/y")
    built = shop.must_build(None, text=text, tags=["travels:1"], inline_cache=True)
    other = Workshop(as_user, "elsewhere")
    archive = other.user.home / "travels.tar"
    archive.write_bytes(shop.saved("travels:1"))
    os.chown(archive, as_user.uid, as_user.gid)
    other.user.call(load, archive)
    found = other.must_build(None, text=text, cache_from=["travels:1"])
    assert (found.id, found.cached) == (built.id, ["0.1", "0.2", "0.3"])
    assert other.must_build(None, text=text + "RUN echo z >/z\n").made == ["0.1", "0.2", "0.3", "0.4"]


def test_a_cache_that_is_nowhere_is_a_warning(shop: Workshop) -> None:
    built = shop.must_build(None, text=f"FROM {BASE}\nRUN true\n", cache_from=["localhost:1/none:1"], events=True)
    [warning] = [event["text"] for event in json.loads(built.events) if event["type"] == "warning"]
    assert warning.startswith("cache from localhost:1/none:1: ")


def load(path: str) -> None:
    from jupyter_containers import from_env

    from_env().images.load(path)


# --- what is fetched ---


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, its URL, and what was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, text: str, *values: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_url_is_added_and_asked_for_again_only_without_a_checksum(
    shop: Workshop, served: tuple[Path, str, list[str]]
) -> None:
    folder, url, asked = served
    (folder / "data.txt").write_text("one")
    digest = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    text = lines(f"FROM {BASE}", "ADD {flags} {url}/data.txt /d/", "RUN cat /d/data.txt; stat -c %a:%u /d/data.txt")
    plain, checked = (text.format(flags=flags, url=url) for flags in ("", f"--checksum={digest}"))
    assert shop.must_build(None, text=plain).output == "one600:0\n"
    assert (shop.must_build(None, text=plain).steps["0.1"], len(asked)) == ("cached", 2)
    assert (shop.must_build(None, text=checked).steps["0.1"], len(asked)) == ("cached", 2)
    (folder / "data.txt").write_text("two")
    assert shop.must_build(None, text=plain).output == "two600:0\n"
    failed = shop.build(None, text=checked, no_cache=True)
    assert "instead of sha256:" in failed.error
    assert failed.error.startswith("Dockerfile:2: ")


# --- what changes meanwhile, what is killed ---


def test_a_file_that_is_saved_while_it_is_copied_is_copied_as_it_is_then(shop: Workshop) -> None:
    """And remembered as that: the next build of the same content finds it, one of the old content does not."""
    context = shop.context("saved", "echo old >f")
    text = f"FROM {BASE}\nCOPY f /f\nRUN cat /f\n"
    assert shop.user.call(build_while_somebody_saves, context, text) == "new\n"
    assert shop.must_build(context, text=text).cached == ["0.1", "0.2"]
    shop.change(context, "echo old >f")
    assert shop.must_build(context, text=text).output == "old\n"


def build_while_somebody_saves(context: str, text: str) -> str:
    from jupyter_containers import from_env
    from jupyter_containers.build.layering import Layering
    from jupyter_containers.engine.builds import BuildOptions
    from jupyter_containers.options import RunOptions

    copied = Layering.of_tar

    def save_and_copy(self: Layering, *words: Any) -> Any:
        if (Path(context) / "f").read_text() == "old\n":
            (Path(context) / "f").write_text("new\n")
        return copied(self, *words)

    Layering.of_tar = save_and_copy  # type: ignore[assignment,method-assign]
    events: list[dict[str, Any]] = []
    from_env().builds.build(
        BuildOptions(context=Path(context), text=text, run=RunOptions("", network="none"), no_cache=True), events.append
    )
    return "".join(event["text"] for event in events if event["type"] == "output")


def test_steps_that_share_a_new_cache_folder_may_make_it_at_once(shop: Workshop) -> None:
    step = "RUN --mount=type=cache,target=/c,id=new,from=seed,source=/s cat /c/f"
    stages = [text for n in range(6) for text in (f"FROM {BASE} AS s{n}", f"{step} # {n}")]
    ends = [f"COPY --from=s{n} /etc /{n}" for n in range(6)]
    text = lines(f"FROM {BASE} AS seed", "RUN mkdir /s && echo seed >/s/f", *stages, f"FROM {BASE}", *ends)
    assert shop.must_build(None, text=text).output.split() == ["seed"] * 6


def test_the_context_of_a_build_that_was_killed_is_removed_by_the_next(shop: Workshop) -> None:
    with shop.user.popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGKILL)
    stages = shop.user.store / "stages"
    assert [path.name.partition("-")[0] for path in stages.iterdir()] == [str(process.pid)]
    shop.must_build(None, text=f"FROM {BASE}\n")
    assert list(stages.iterdir()) == []


ENDLESS = f"""
import io, tarfile
from jupyter_containers import from_env
from jupyter_containers.engine.builds import BuildOptions
from jupyter_containers.options import RunOptions
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as file:
    member = tarfile.TarInfo("Dockerfile")
    data = b"FROM {BASE}\\nRUN echo running; sleep 100\\n"
    member.size = len(data)
    file.addfile(member, io.BytesIO(data))
tar.seek(0)
tell = lambda event: print(event["text"], end="", flush=True) if event["type"] == "output" else None
from_env().builds.build(BuildOptions(archive=tar, run=RunOptions("", network="none")), tell)
"""


# --- words ---


def test_arguments_that_nobody_declares_are_told(shop: Workshop) -> None:
    built = shop.must_build(None, text=f"FROM {BASE}\nARG VERSION\nRUN true\n", args={"VERSIN": "1"}, events=True)
    [warning] = [event["text"] for event in json.loads(built.events) if event["type"] == "warning"]
    assert warning.startswith("build argument VERSIN is declared nowhere. Did you mean")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("FROM busybux:test\n", "Dockerfile:1: No such image: busybux:test"),
        (f"FROM {BASE}\nCOPY none /\n", "Dockerfile:2: "),
        (f"FROM {BASE}\nRUN --security=insecure true\n", "Dockerfile:2: --security=insecure: security mode 'insecure' is not allowed"),
        (f"FROM {BASE}\nRUN --mount=type=secret,id=s,required true\n", "Dockerfile:2: secret 's' not found"),
        (f"FROM {BASE}\nRUN --mount=type=ssh,required true\n", "Dockerfile:2: ssh agent 'default' not found"),
        (f"FROM {BASE}\nRUN --mount=from={BASE},source=/none,target=/x true\n", "Dockerfile:2: there is no '/none' in busybox:test"),
        (f"FROM {BASE}\nWORKDIR /bin/sh\n", "Dockerfile:2: /bin/busybox: cannot make the folder"),
        ("FROM host\n", "Dockerfile:1: host: the image 'host' is this machine itself"),
        ("FROM --platform=linux/s390x busybox:test\n", "Dockerfile:1: "),
        (f"FROM {BASE}\nRUN [\"/none\"]\n", "Dockerfile:2: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_line(shop: Workshop, text: str, error: str) -> None:
    context = shop.context("wrong", "echo 1 >there")
    assert shop.build(context, text=text).error.startswith(error)


# --- a machine without a way outside ---


def test_without_a_way_outside_steps_run_and_it_is_said_once(shop: Workshop) -> None:
    """As on a machine without pasta: what needs no network is built all the same."""
    warnings, output = shop.user.call(build_without_outside)
    assert warnings == ["no network to the outside: no pasta. Install it."]
    assert output == "lo\nlo\n"


def build_without_outside() -> tuple[list[str], str]:
    from jupyter_containers import from_env
    from jupyter_containers.engine.builds import BuildOptions

    engine, events = from_env(), []
    engine.runtime.__dict__["_machine"] = {
        **engine.runtime._machine, "network": {"outside": False, "why": "no pasta", "mend": "Install it."},
    }  # fmt: skip
    text = f"FROM {BASE}\nRUN ls /sys/class/net\nRUN ls /sys/class/net; true\n"
    engine.builds.build(BuildOptions(text=text, no_cache=True), events.append)
    said = [event["text"] for event in events if event["type"] == "warning"]
    return said, "".join(event["text"] for event in events if event["type"] == "output")
