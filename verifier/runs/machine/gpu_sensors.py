"""What NVIDIA's driver says of its GPUs, through nvidia-ml-py where that is installed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

HOT_REASONS = (
    "nvmlClocksThrottleReasonHwThermalSlowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)
"""Reasons to clock down that speak against the machine; a power cap alone is its normal state."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSample:
    """One GPU at one moment; None for what the driver does not tell."""

    utilization_percent: int | None = None
    memory_bytes: int | None = None
    sm_clock_mhz: int | None = None
    power_watts: float | None = None
    temperature_celsius: int | None = None
    throttle_reasons: int | None = None
    """The driver's bits."""
    is_hot: bool = False
    """Whether one of HOT_REASONS holds."""
    uncorrected_errors: int | None = None
    """Memory errors since the driver was loaded that ECC could not mend."""
    fault: str | None = None
    """Why the driver no longer answers for it."""


class GpuSensors:
    """The driver's sensors; without GPU or library there are none."""

    def __init__(self) -> None:
        self._handles: list[object] = []
        try:
            self._nvml: ModuleType = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        except Exception:  # no library, no driver, no GPU: each by an error class of its own
            self._handles = []

    def read(self) -> tuple[GpuSample, ...]:
        """A sample of every GPU."""
        return tuple(self._read(handle) for handle in self._handles)

    def close(self) -> None:
        """Let go of the driver."""
        if self._handles:
            self._nvml.nvmlShutdown()
            self._handles = []

    def _read(self, handle: object) -> GpuSample:
        nvml = self._nvml
        try:
            rates = nvml.nvmlDeviceGetUtilizationRates(handle)
        except nvml.NVMLError as error:
            return GpuSample(fault=str(error))
        reasons = self._ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        hot = sum(getattr(nvml, name, 0) for name in HOT_REASONS)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        return GpuSample(
            utilization_percent=rates.gpu,
            memory_bytes=getattr(self._ask(nvml.nvmlDeviceGetMemoryInfo, handle), "used", None),
            sm_clock_mhz=self._ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            power_watts=milliwatts / 1000 if milliwatts is not None else None,
            temperature_celsius=self._ask(
                nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
            ),
            throttle_reasons=reasons,
            is_hot=bool((reasons or 0) & hot),
            uncorrected_errors=self._ask(
                nvml.nvmlDeviceGetTotalEccErrors,
                handle,
                nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                nvml.NVML_VOLATILE_ECC,
            ),
        )

    def _ask(self, question: Callable[..., Answer], *arguments: object) -> Answer | None:
        """An answer of the driver; None where this GPU has no such sensor."""
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None
