"""The same apps on every engine: same model, all bytes seen, no site can stop the others."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_federation
from tiny_federation import SITES, Broken, Fault, TinySites, tiny_setup, tiny_task

from aggregator.app import server_app
from aggregator.checkpoints import read_round
from aggregator.store import Store
from fedrad import flower
from fedrad.errors import RunError
from fedrad.protocol.codec import decode_reply
from simulations.engines import run_local, run_ray
from simulations.grid import LocalGrid
from simulations.pool import Inline, Pool

RAY = importlib.util.find_spec("ray") is not None


def test_every_reply_is_observed_as_the_bytes_that_left(tmp_path: Path) -> None:
    seen = []
    run_local(
        server_app(tiny_setup(tmp_path)),
        SITES,
        TinySites(),
        workers=0,
        observer=lambda *facts: seen.append(facts),
    )
    assert len(seen) == 4 * 3 + 4 * 2
    site, phase, number, content = seen[0]
    assert (site, phase, number) == ("east", "train", 1)
    reply = decode_reply(flower.message_from_bytes(content))
    np.testing.assert_allclose(reply.update["a"], 0.5 * (1 + sum(b"east") % 7))


def test_a_worker_that_dies_costs_one_reply_and_is_replaced(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    sites = TinySites(faults=(Fault("west", "die", round=1),))
    run_local(server_app(setup), SITES, sites, workers=2)
    with Store(tmp_path / "run.sqlite") as store:
        rows = store.frame("replies").query("site == 'west' and phase == 'train'")
        others = store.frame("replies").query("site != 'west'")
    assert rows["outcome"].tolist() == ["failed", "done", "done"]
    assert rows["reason_code"].tolist() == ["offline", "", ""]
    assert set(others["outcome"]) == {"done"}


def test_a_factory_that_fails_in_a_worker_is_told_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"(?s)could not build the site program.*no such home"):
        run_local(server_app(tiny_setup(tmp_path)), SITES, Broken(), workers=1)


def test_a_factory_that_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be sent to a worker process"):
        run_local(server_app(tiny_setup(tmp_path)), SITES, lambda: None, workers=1)


def test_workers_are_gone_when_the_run_is_over() -> None:
    pool = Pool(SITES, TinySites(), 2)
    pids = pool.pids()
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def heed_interrupts() -> None:
    """Let Ctrl-C reach a child even where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_the_middle_of_a_round_ends_everything_soon(tmp_path: Path) -> None:
    """A real program, a real signal to its whole group, as a terminal sends it."""
    program = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_federation import SITES, TinySites, tiny_setup
from aggregator.app import server_app
from simulations.engines import run_local
run_local(server_app(tiny_setup(Path(sys.argv[2]))), SITES, TinySites(train_s=60.0), workers=2)
"""
    arguments = [
        sys.executable,
        "-c",
        program,
        str(Path(tiny_federation.__file__).parent),
        str(tmp_path),
    ]
    process = subprocess.Popen(
        arguments, start_new_session=True, preexec_fn=heed_interrupts, stderr=subprocess.PIPE
    )
    with Store(tmp_path / "run.sqlite") as store:
        wait_for(lambda: "asked" in set(store.frame("events")["kind"]))
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert store.frame("runs")["status"].tolist() == ["interrupted"]
    assert errors.decode().strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        wait_for(lambda: os.killpg(process.pid, 0), seconds=10)


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Ask until the condition holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.1)


def test_two_sites_with_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="two sites are called 'east'"):
        run_local(server_app(tiny_setup(tmp_path)), [*SITES, "east"], TinySites(), workers=0)


def test_a_grid_names_its_nodes_after_the_sites() -> None:
    grid = LocalGrid(SITES, Inline(SITES, TinySites()))
    assert [node.name for node in grid.get_nodes()] == sorted(SITES)
    assert list(grid.get_node_ids()) == [node.node_id for node in grid.get_nodes()]


def test_a_site_stays_with_the_worker_that_knows_its_data() -> None:
    pool = Pool(SITES, TinySites(train_s=0.05), 2)
    try:
        grid = LocalGrid(SITES, pool)
        owners = []
        for _ in range(3):
            for _ in grid.send_and_receive(requests_to(grid), timeout=20):
                pass
            owners.append(dict(pool._owner))
    finally:
        pool.close()
    assert owners[0] == owners[1] == owners[2]
    assert sorted(owners[0].values()) == [0, 0, 1, 1]


def requests_to(grid: LocalGrid) -> list:
    from flwr.app import ArrayRecord, Message

    from fedrad.protocol.codec import encode_request
    from fedrad.protocol.messages import Request

    request = Request(
        study="s", task_hash="t", round=1, phase="train", model_digest="", deadline_s=9.0
    )
    content = encode_request(request, ArrayRecord())
    return [Message(content, node, "train", group_id="1") for node in grid.get_node_ids()]


@pytest.mark.slow
@pytest.mark.skipif(not RAY, reason="missing: ray is not installed")
def test_ray_and_the_local_engine_give_the_same_model_and_the_same_bytes(tmp_path: Path) -> None:
    seen: set[tuple[str, str, int]] = set()
    run_local(
        server_app(tiny_setup(tmp_path / "local", tiny_task(rounds=2))),
        SITES,
        TinySites(),
        workers=0,
        observer=lambda site, phase, number, _: seen.add((site, phase, number)),
    )
    on_ray = run_ray_alone(tmp_path / "ray")
    models = [read_round(tmp_path / name, 2)[1] for name in ("local", "ray")]
    for tensor, other in zip(models[0].values(), models[1].values(), strict=True):
        np.testing.assert_allclose(tensor, other, atol=1e-6)
    assert seen == {fact for fact in on_ray if fact[1] != "query"}


def run_ray_alone(folder: Path) -> set[tuple[str, str, int]]:
    """Run Ray in a network namespace without any other address than loopback."""
    folder.mkdir()
    alone = ["unshare", "--user", "--map-root-user", "--net"]
    script = Path(__file__).with_name("ray_alone.py")
    paths = os.pathsep.join([str(Path(tiny_federation.__file__).parent), str(Path.cwd())])
    done = subprocess.run(
        [*alone, sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {tuple(fact) for fact in json.loads((folder / "seen.json").read_text())}


def test_without_ray_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(RunError, match=r"install fedrad\[ray\] or use the local engine"):
        run_ray(server_app(tiny_setup(tmp_path)), SITES, TinySites())
