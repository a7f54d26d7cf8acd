"""A comparison whose trials are kept by a PostgreSQL server, which does not answer for a while."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("psycopg2", reason="no driver of PostgreSQL is installed")
pytest.importorskip("optuna", reason="needs keras_gates[sweep]")

from test_compare import (  # noqa: F401 (a fixture)
    FAKE_TASK,
    clone,
    living,
    processes_in,
    start,
    table,
    training,
    wait_for,
)

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
        process.wait(60)
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


HELD = "time.sleep(0.5)\nwhile pathlib.Path('held').exists(): time.sleep(0.1)"


class Relay:
    """A port that leads to another one, until it is blocked: then it refuses, and has cut its connections."""

    def __init__(self, target):
        self.target, self.port, self.open = target, None, []
        self.unblock()

    def unblock(self):
        self.listener = socket.create_server(("127.0.0.1", self.port or 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def block(self):
        # shutdown, since a thread that waits for a socket would keep it open
        for each in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.open = []

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.target))
                self.open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self.forward, args=pair, daemon=True).start()

    def forward(self, source, sink):
        with contextlib.suppress(OSError):
            while content := source.recv(2**16):
                sink.sendall(content)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def kill_worker(slot, out, with_training):
    """Kill the worker of a slot while it runs a trial; its training goes on, if it is not killed too."""

    def at_work():
        time.sleep(0.5)  # to look at all processes is much work
        for process, line, files in living():
            if {"work", str(out)} <= set(line) and line[line.index(str(out)) + 1] == str(slot):
                locks = [file for file in files if file.endswith(".lock") and "/trials/" in file]
                return (process, locks[0]) if locks else None
        return None

    worker, lock = wait_for(at_work)
    time.sleep(random.uniform(0, 1))
    for each in processes_in(lock) if with_training else [worker]:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(each, signal.SIGKILL)


def test_workers_that_are_killed_and_a_port_that_is_blocked_cost_no_trial(clone, server):  # noqa: F811
    """24 trials; each of three workers is killed twice; the database cannot be reached for 20 s."""
    random.seed(0)
    task, held = clone / "experiments" / "fake" / "__main__.py", clone / "held"
    # trials last until all is done to them, however slowly workers start
    task.write_text(FAKE_TASK.replace("time.sleep(1.5)", HELD))
    held.touch()
    relay = Relay(int(server[0].rpartition(":")[2].partition("/")[0]))
    storage, out = server[0].replace(f":{relay.target}/", f":{relay.port}/"), clone / "fire"
    cells = ["--tasks", "fake", "--cells", "lstm", "coupled", "peephole", "--seeds", "8", "--jobs", "3"]
    driver = start(clone, *cells, "--heartbeat", "1", "--storage", storage, "--out", str(out))
    for slot in range(3):
        kill_worker(slot, out, with_training=False)
    relay.block()
    time.sleep(20)
    relay.unblock()
    for slot in range(3):
        kill_worker(slot, out, with_training=True)
    held.unlink()
    stdout, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 0, stdout + stderr
    names = (clone / "finished.txt").read_text().split()
    assert len(names) == len(set(names)) == 24, "nothing ran twice"

    quiet = clone / "quiet" / out.name  # the name stands in the table
    driver = start(clone, *cells, "--out", str(quiet))
    stdout, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 0, stdout + stderr
    assert table(out) == table(quiet)
