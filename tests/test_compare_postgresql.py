"""A comparison whose trials are kept by a PostgreSQL server, which does not answer for a while."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("psycopg2", reason="no driver of PostgreSQL is installed")
pytest.importorskip("optuna", reason="needs keras_gates[sweep]")

from test_compare import clone, start, table, training, wait_for  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(not shutil.which("initdb"), reason="there is no PostgreSQL server here")


@pytest.fixture
def server():
    """The address of a database, and the server's process. The server does not run as root."""
    owner = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="keras_gates-")
    if owner:
        shutil.chown(folder, **owner)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tools = Path(shutil.which("initdb")).resolve().parent
    subprocess.run(
        [tools / "initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "tester"],
        cwd=folder,
        check=True,
        capture_output=True,
        **owner,
    )
    process = subprocess.Popen(
        [tools / "postgres", "-D", f"{folder}/data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        **owner,
    )
    try:
        wait_for(lambda: Path(folder, f".s.PGSQL.{port}").exists(), seconds=60)
        yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres", process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(folder)


def server_processes(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [process.pid, *map(int, children)]


def test_a_database_that_is_silent_longer_than_three_heartbeats_costs_no_trial(clone, server):  # noqa: F811
    storage, process = server
    command = ["--tasks", "fake", "--cells", "lstm", "coupled", "--seeds", "2", "--jobs", "2"]
    command += ["--heartbeat", "1", "--storage", storage, "--out", str(clone / "there")]
    driver = start(clone, *command)
    wait_for(lambda: training(clone / "there") or driver.poll() is not None)
    stopped = server_processes(process)
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    time.sleep(6)
    for each in stopped:
        os.kill(each, signal.SIGCONT)
    stdout, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 0, stdout + stderr
    names = (clone / "finished.txt").read_text().split()
    assert len(names) == len(set(names)) == 4, "nothing ran twice"
    assert [row["cell"] for row in table(clone / "there")] == ["coupled", "coupled", "lstm", "lstm"]
