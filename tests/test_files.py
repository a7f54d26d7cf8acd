"""What is written is whole or absent, and what a killed process left is removed by the next one."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from keras_gates import _files
from keras_gates._files import check_digests, check_free, write_digests, written_whole

posix = pytest.mark.skipif(os.name != "posix", reason="locks on folders and signals as POSIX has them")


def run(code, folder):
    """Start a process that runs in a folder and imports the module by itself, which is quick."""
    opening = "import os, signal, sys\nfrom _files import written_whole\n"
    return subprocess.Popen(
        [sys.executable, "-c", opening + textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(_files.__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_a_folder_appear_at_the_end_and_whole(tmp_path):
    with written_whole(tmp_path / "new" / "file.txt") as partial:
        partial.write_text("text")
        assert partial.name == "file.txt"
        assert not (tmp_path / "new" / "file.txt").exists()
    with written_whole(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "inner").mkdir()
        (partial / "inner" / "file").write_text("inner text")
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "new" / "file.txt").read_text() == "text"
    assert (tmp_path / "folder" / "inner" / "file").read_text() == "inner text"
    assert left_in(tmp_path) == ["folder", "new"] and left_in(tmp_path / "new") == ["file.txt"]


@posix
def test_permissions_are_those_of_a_plain_write(tmp_path):
    (tmp_path / "plain").write_text("text")
    (tmp_path / "plain folder").mkdir()
    with written_whole(tmp_path / "file") as partial:
        partial.write_text("text")
    with written_whole(tmp_path / "folder") as partial:
        partial.mkdir()
    for ours, plain in (("file", "plain"), ("folder", "plain folder")):
        assert (tmp_path / ours).stat().st_mode == (tmp_path / plain).stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_body_leaves_what_was_there(tmp_path, error):
    (tmp_path / "file").write_text("before")
    with pytest.raises(error), written_whole(tmp_path / "file", replace=True) as partial:
        partial.write_text("half")
        raise error
    assert left_in(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "before"


def test_a_file_is_replaced_only_if_that_is_asked_for(tmp_path):
    (tmp_path / "file").write_text("before")
    with pytest.raises(FileExistsError, match="file exists already"), written_whole(tmp_path / "file"):
        raise AssertionError("the body must not run")
    with written_whole(tmp_path / "file", replace=True) as partial:
        partial.write_text("after")
    assert (tmp_path / "file").read_text() == "after"


def test_what_appears_at_the_path_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(FileExistsError, match="file exists already"), written_whole(path) as partial:
        partial.write_text("ours")
        path.write_text("theirs")
    assert left_in(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "theirs"


def test_a_folder_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("theirs")
    sentence = r"The run could not be written to .*folder: .+\."
    with (
        pytest.raises(OSError, match=sentence),
        written_whole(tmp_path / "folder", "run", replace=True) as partial,
    ):
        partial.mkdir()
    assert left_in(tmp_path / "folder") == ["file"]


def test_a_dangling_link_counts_as_something_that_stands_there(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="link exists already"):
        check_free(tmp_path / "link")


@pytest.mark.parametrize(
    ("path", "reason"), [("file/model", "File exists"), ("file/folder/model", "Not a directory")]
)
def test_a_path_without_a_place_is_one_sentence(tmp_path, path, reason):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError) as error, written_whole(tmp_path / path, "table"):
        raise AssertionError("the body must not run")
    assert str(error.value) == f"The table could not be written to {tmp_path / path}: {reason}."


def test_an_error_of_the_disk_in_the_body_is_one_sentence(tmp_path):
    with pytest.raises(OSError) as error, written_whole(tmp_path / "file", "table"):
        raise OSError(28, "No space left on device")
    assert (
        str(error.value) == f"The table could not be written to {tmp_path / 'file'}: No space left on device."
    )
    assert left_in(tmp_path) == []


def test_the_longest_name_that_a_file_can_have_is_written(tmp_path):
    name = "n" * 255
    with written_whole(tmp_path / name) as partial:
        partial.write_text("text")
    assert left_in(tmp_path) == [name]


@posix
def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path):
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    for body in (kill, f"partial.mkdir(); (partial / 'file').write_text('half'); {kill}"):
        killed = run(f"with written_whole('result') as partial: {body}", tmp_path)
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
    left = left_in(tmp_path)
    assert len(left) == 1  # the second process removed what the first had left
    assert str(killed.pid) in left[0]
    with written_whole(tmp_path / "other") as partial:
        partial.write_text("text")
    assert left_in(tmp_path) == ["other"]


@posix
def test_what_a_living_process_writes_is_left_alone(tmp_path):
    living = run(
        """
        with written_whole("slow") as partial:
            partial.mkdir()
            (partial / "first").write_text("first half")
            print("writing", flush=True)
            sys.stdin.read()
            (partial / "second").write_text("second half")
        """,
        tmp_path,
    )
    assert living.stdout.readline() == "writing\n"
    with written_whole(tmp_path / "outer") as outer:
        outer.write_text("a thread of this process writes as well")
        with written_whole(tmp_path / "inner") as inner:
            inner.write_text("text")
    living.communicate(timeout=60)
    assert living.returncode == 0
    assert left_in(tmp_path) == ["inner", "outer", "slow"]
    assert left_in(tmp_path / "slow") == ["first", "second"]


@posix
def test_a_process_with_the_number_of_the_one_that_is_gone_does_not_keep_its_folder(tmp_path):
    """Process ids are used again; the folder says 'of this very process', which did not write it."""
    with written_whole(tmp_path / "file") as partial:
        partial.write_text("text")
        reused = tmp_path / f"{_files._prefix()}{os.getpid()}-left{_files._SUFFIX}"
    reused.mkdir()
    with written_whole(tmp_path / "other") as partial:
        partial.write_text("text")
    assert left_in(tmp_path) == ["file", "other"]


@posix
def test_what_is_not_ours_is_left_alone(tmp_path):
    """Folders of other programs and machines; a file and a link with a name of ours."""
    foreign = ["..partial", ".model.x1.partial", ".keras_gates-another.host-7-x1.partial", "run.partial"]
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("theirs")
    ours = f"{_files._prefix()}7-"
    (tmp_path / f"{ours}file.partial").write_text("theirs")
    (tmp_path / f"{ours}link.partial").symlink_to("run.partial")
    before = left_in(tmp_path)
    with written_whole(tmp_path / "other") as partial:
        partial.write_text("text")
    assert left_in(tmp_path) == sorted([*before, "other"])
    assert all((tmp_path / name / "file").read_text() == "theirs" for name in foreign)


@posix
def test_processes_that_write_to_one_folder_do_not_disturb_each_other(tmp_path):
    """Each removes leftovers while the others make, fill and rename their folders."""
    code = """
        for k in range(200):
            with written_whole(f"{os.getpid()}-{k}") as partial:
                partial.mkdir()
                (partial / "file").write_text("text")
        """
    writers = [run(code, tmp_path) for _ in range(3)]
    assert [writer.communicate(timeout=300) and writer.returncode for writer in writers] == [0, 0, 0]
    assert len(left_in(tmp_path)) == 600
    assert all((path / "file").read_text() == "text" for path in tmp_path.iterdir())


@posix
def test_a_folder_that_is_taken_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """The moment between the making of a partial folder and its lock, when it looks like a leftover."""
    lock, taken = _files._lock, []

    def lock_after_another(folder):
        if not taken:
            taken.append(folder)
            _files.shutil.rmtree(folder)
        return lock(folder)

    monkeypatch.setattr(_files, "_lock", lock_after_another)
    with written_whole(tmp_path / "file") as partial:
        partial.write_text("text")
    assert taken and left_in(tmp_path) == ["file"]


def test_without_locks_files_are_written_and_nothing_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "fcntl", None)
    left = tmp_path / f"{_files._prefix()}7-left{_files._SUFFIX}"
    left.mkdir()
    with written_whole(tmp_path / "file") as partial:
        partial.write_text("text")
    assert left_in(tmp_path) == [left.name, "file"]


# -- digests


@pytest.fixture
def digested(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "file").write_bytes(bytes(range(256)))
    (tmp_path / "inner" / "ein Ärger").write_text("text")
    write_digests(tmp_path)
    return tmp_path


def test_a_folder_as_it_was_written_passes(digested):
    check_digests(digested)
    (digested / "assets.extra").mkdir()
    (digested / "assets.extra" / "mine").write_text("added later")
    check_digests(digested)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_digests_are_those_of_sha256sum(digested):
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=digested, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize("name", ["file", "inner/ein Ärger"])
def test_a_changed_or_missing_file_is_named(digested, name):
    content = (digested / name).read_bytes()
    for other in (content[:-1], content + b"\0", bytes([content[0] ^ 1]) + content[1:], b""):
        (digested / name).write_bytes(other)
        with pytest.raises(ValueError, match=f"^{name} is not as it was written.$"):
            check_digests(digested)
    (digested / name).unlink()
    with pytest.raises(ValueError, match=f"^{name} is missing.$"):
        check_digests(digested)
    (digested / name).mkdir()
    with pytest.raises(ValueError, match=f"^{name} is missing.$"):
        check_digests(digested)


def test_a_damaged_list_of_digests_is_no_list(digested):
    whole = (digested / "SHA256SUMS").read_bytes()
    outside = b"0" * 64 + b"  ../file\n"
    absolute = b"0" * 64 + b"  /etc/passwd\n"
    for damaged in (
        b"",
        whole[:1],
        whole[:70],
        whole[:-1],
        b"\n",
        b"no list\n",
        outside,
        absolute,
        b"\xff\n",
    ):
        (digested / "SHA256SUMS").write_bytes(damaged)
        with pytest.raises(ValueError):
            check_digests(digested)
