"""Which machine measured, and whether its figures count."""

from verifier.rulebook import load_rulebook
from verifier.runs.machine.host import describe_host, missing_hardware

RECORD = load_rulebook("10min_16mb").track.hardware
DEMO = load_rulebook("demo").track.hardware
H100 = "NVIDIA H100 80GB HBM3"


def test_a_machine_without_enough_gpus_is_told_what_it_lacks():
    assert "the track's hardware is 8 x H100, here is no GPU" in missing_hardware(RECORD, ())
    assert f"here is {H100}, {H100}" in missing_hardware(RECORD, (H100,) * 2)
    assert missing_hardware(RECORD, ("NVIDIA A100",) * 8) is not None


def test_the_tracks_machine_lacks_nothing():
    assert missing_hardware(RECORD, (H100,) * 8) is None
    assert missing_hardware(DEMO, ()) is None


def test_this_machine_is_described():
    host = describe_host(DEMO)
    assert host.meets_track
    assert host.num_cpus >= 1 <= host.memory_bytes
    assert host.cpu and host.python
