"""A kill during a save leaves the old file or the new one."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.jobs.working import ROOT

KILLS = 30
# Large enough that most of the time goes into writing.
_WRITER = """
import sys
from pathlib import Path
from spectral_diffusion.workspace import write_atomically
path = Path(sys.argv[1])
number = int(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    content = number.to_bytes(4, "big") * 500_000
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
"""


def test_a_kill_during_a_save_leaves_the_old_or_the_new_file(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, path, last, during = random.Random(7), tmp_path / "octo.safetensors", 0, 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(last)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.01, 0.15))
        process.kill()
        process.wait()
        left = [other for other in tmp_path.iterdir() if other != path]
        during += bool(left)
        for other in left:
            other.unlink()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 2_000_000 and content == content[:4] * 500_000
            number = int.from_bytes(content[:4], "big")
            assert number >= last
            last = number
    assert last > 0
    record_property("killed while it saved: times, of these in the middle of writing", f"{KILLS}, {during}")
