"""The list: what every sandbox must hold to, by name, and which guarantee rests on it.

A check is named for its probe, and claims the first line of the probe's docstring. A probe returns
None where the claim holds, else what was possible; it raises NotApplicable where the claim means
nothing. What a guarantee rests on is tried before every run, the whole list by the doctor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from verifier.endings import Grade
from verifier.sandbox.conformance import endings, limits, output
from verifier.sandbox.conformance.inside import (
    devices,
    files,
    network,
    privileges,
    processes,
    tampering,
)
from verifier.sandbox.conformance.stage import Stage

OutsideProbe = Callable[[Stage], str | None]
Outcome = Literal["held", "not_held", "not_applicable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One small thing that must hold."""

    name: str
    topic: str
    claim: str
    guarantee: str | None
    """What a report promises on the strength of it; None where it promises nothing by name."""
    otherwise: Grade
    """What the guarantee is still worth where this does not hold."""
    outside: OutsideProbe | None
    """Starts programs and looks at them from without; None: it is tried within, by its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one check found."""

    check: Check
    outcome: Outcome
    reason: str
    """What was possible, or why the check means nothing here; empty where it held."""


def _check(probe: Callable[[Any], str | None], guarantee: str | None, otherwise: Grade) -> Check:
    module = probe.__module__
    return Check(
        name=probe.__name__,
        topic=module.rpartition(".")[2],
        claim=(probe.__doc__ or "").partition("\n")[0],
        guarantee=guarantee,
        otherwise=otherwise,
        outside=None if ".inside." in module else probe,
    )


def _checks(
    guarantee: str | None, *probes: Callable[[Any], str | None], otherwise: Grade = "absent"
) -> list[Check]:
    return [_check(probe, guarantee, otherwise) for probe in probes]


CHECKS: tuple[Check, ...] = (
    *_checks(
        "network",
        network.outside_ipv4_has_no_route,
        network.outside_ipv6_has_no_route,
        network.outside_udp_has_no_route,
        network.outside_web_is_unreachable,
        network.host_loopback_is_unreachable,
        network.host_abstract_socket_is_unreachable,
        network.host_socket_file_is_unreachable,
        network.raw_sockets_are_refused,
        network.machine_sockets_are_refused,
        network.loopback_works,
        network.hostname_leads_to_ourselves,
    ),
    *_checks(
        None,
        network.outside_names_do_not_resolve,
        network.only_loopback_interfaces_exist,
        network.kernel_crypto_sockets_are_refused,
        network.local_sockets_work,
        tampering.data_can_be_read,
    ),
    *_checks(
        "file_writes",
        files.system_cannot_be_written,
        files.shared_folders_cannot_be_written,
        tampering.data_cannot_be_opened_for_writing,
        tampering.data_cannot_be_replaced,
        tampering.data_cannot_be_renamed,
        tampering.data_cannot_be_removed,
        tampering.data_cannot_be_added,
        tampering.data_modes_cannot_be_changed,
        tampering.data_cannot_be_remounted,
        tampering.data_cannot_be_linked_and_written,
        limits.nothing_is_left_for_the_next_run,
    ),
    *_checks(
        "secrets",
        files.host_files_cannot_be_read,
        files.other_runs_cannot_be_read,
        files.host_passwords_cannot_be_read,
        files.home_folders_cannot_be_listed,
        files.symlinks_lead_nowhere,
        files.hard_links_to_the_host_are_refused,
        files.other_roots_lead_nowhere,
        files.file_handles_are_refused,
        files.mounted_disks_cannot_be_read,
        files.environment_of_the_harness_is_hidden,
        processes.host_processes_are_hidden,
        processes.host_memory_cannot_be_read,
        output.no_descriptor_is_inherited,
    ),
    *_checks(
        None,
        files.host_file_names_are_hidden,
        files.working_folder_can_be_written,
        files.temporary_folder_can_be_written,
    ),
    *_checks(
        "process_leaks",
        processes.host_processes_cannot_be_signalled,
        processes.host_processes_cannot_be_traced,
        endings.detached_children_die_with_the_run,
    ),
    *_checks(
        None,
        processes.host_priority_cannot_be_changed,
        processes.own_priority_cannot_be_raised,
        processes.limits_cannot_be_raised,
        processes.cpus_are_those_of_the_harness,
        processes.no_terminal_is_attached,
        processes.shared_memory_of_the_host_is_hidden,
        endings.children_die_with_the_run,
        endings.whole_tree_dies_at_the_limit,
        endings.tree_dies_with_the_harness,
    ),
    *_checks("clock_outside", privileges.clock_cannot_be_set, endings.wall_time_is_ours),
    *_checks(
        None,
        privileges.no_capabilities_are_held,
        privileges.new_programs_gain_no_privileges,
        privileges.root_cannot_be_had,
        privileges.user_namespaces_are_refused,
        privileges.other_namespaces_are_refused,
        privileges.mounts_are_refused,
        privileges.another_root_is_refused,
        privileges.hostname_cannot_be_set,
        privileges.keyrings_are_refused,
        privileges.kernel_programs_are_refused,
        privileges.performance_counters_are_refused,
        privileges.io_uring_is_refused,
        privileges.page_fault_handlers_are_refused,
        privileges.kernel_modules_are_refused,
        privileges.machine_cannot_be_rebooted,
        privileges.kernel_settings_cannot_be_written,
        privileges.kernel_log_cannot_be_read,
        privileges.cgroups_cannot_be_written,
        devices.basic_devices_work,
        devices.device_nodes_cannot_be_made,
        devices.machine_devices_cannot_be_opened,
        devices.shared_memory_is_large_enough,
        devices.hardware_description_can_be_read,
        devices.gpus_are_passed_through,
    ),
    *_checks("memory", limits.memory_limit_ends_the_run),
    # Sampling sees what is held for a while: the guarantee is then watched, not proved.
    *_checks("memory", limits.memory_never_passes_the_limit, otherwise="observed"),
    *_checks(
        None,
        limits.memory_of_all_processes_counts,
        limits.shared_memory_counts,
        limits.memory_files_count,
        limits.files_in_shared_memory_count,
        limits.process_limit_ends_the_run,
        limits.threads_are_limited,
        limits.disk_limit_ends_the_run,
        limits.disk_limit_is_seen_at_the_end,
        limits.many_small_files_end_the_run,
        limits.one_file_is_bounded,
        limits.holes_cost_nothing,
        limits.temporary_files_are_limited,
        limits.output_limit_ends_the_run,
        limits.output_without_lines_is_limited,
        limits.peak_memory_is_measured,
        endings.wall_limit_ends_the_run,
        endings.closed_output_ends_nothing,
        endings.exit_codes_come_through,
        endings.signals_are_named,
        output.output_comes_byte_for_byte,
        output.long_lines_come_whole,
        output.both_outputs_come_in_order,
        output.last_words_of_the_killed_come,
        output.standard_input_is_empty,
        output.environment_is_only_what_was_asked,
        output.large_environments_arrive_whole,
    ),
)
AT_START = tuple(check for check in CHECKS if check.guarantee is not None)
"""What is tried before every run, in a second."""
