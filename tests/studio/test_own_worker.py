from pathlib import Path

from spectral_diffusion.studio.own_worker import _lower_group


def test_the_worker_s_whole_session_steps_back_where_the_system_weighs_sessions(tmp_path: Path):
    group = tmp_path / "autogroup"
    _lower_group(group)
    assert not group.exists()
    group.write_text("/autogroup-1 nice 0")
    _lower_group(group)
    assert group.read_text() == "5"


def test_a_system_that_refuses_does_not_stop_the_worker(tmp_path: Path):
    _lower_group(tmp_path)
